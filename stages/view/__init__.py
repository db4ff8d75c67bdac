"""How an answer is shown: one view for the served page, for the report and on a terminal."""

from importlib.resources import files

PARTS = ("answer.css", "answer.html", "answer.js")


def part(name: str) -> str:
    """Return the text of one of PARTS, to be put into a page."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def completed(page: str) -> str:
    """Return a page with the texts of PARTS in the place of `[[NAME]]`."""
    for name in PARTS:
        page = page.replace(f"[[{name}]]", part(name))
    return page
