"""One table of all performance tests: results/bench/table.md, and between two marks of a page."""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.tracking.files import Row, write_text

BETWEEN_MARKS = re.compile("(?<=<!-- bench -->\n).*?(?=<!-- /bench -->)", re.DOTALL)
HEAD = "| | | median | range | goal |\n|-|-|-:|-:|-:|\n"


def table(results: Sequence[Row]) -> str:
    """Markdown: a line per figure but the details, a title in the first, the machine below."""
    lines = [
        f"| {'' if i else result['title']} | {line(figure)} |\n"
        for result in results
        for i, figure in enumerate(one for one in result["figures"] if not one.get("detail"))
    ]
    return HEAD + "".join(lines) + "\n" + machines(results) + "\n"


def line(figure: Row) -> str:
    """A figure's cells: what, median with unit, range, goal."""
    ends = [number(end(figure["values"])) for end in (min, max)]
    spread = " to ".join(ends) if len(figure["values"]) > 1 else ""
    middle = f"{number(figure['median'])} {figure['unit']}"
    return f"{figure['what']} | {middle} | {spread} | {figure['goal']}"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machines(results: Sequence[Row]) -> str:
    """Where it was measured, in a sentence; each machine once."""
    said = [
        f"{where['hardware']['cpu']}, {where['hardware']['cores']} cores, {where['memory_gb']} GB, "
        f"{where['started'][:10]}"
        for where in (result["machine"] for result in results)
    ]
    return f"Measured on {'; '.join(dict.fromkeys(said))}."


def put_between_marks(page: Path, text: str) -> None:
    """Replace what stands between the marks of `page`."""
    found, n = BETWEEN_MARKS.subn(lambda _: text, page.read_text())
    if n != 1:
        raise UserError(f"{page}: no place for the table; add <!-- bench --> and <!-- /bench -->")
    write_text(page, found)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--results", type=Path, nargs="+", required=True, help="JSON files")
    parser.add_argument("--out", type=Path, required=True, help="results/bench/table.md")
    parser.add_argument("--readme", type=Path, help="also put it between this file's marks")
    parser.add_argument("--log", type=Path, help="also log to this file")
    args = parser.parse_args()
    command_line.start_log(args.log)
    text = table([json.loads(path.read_text()) for path in args.results])
    write_text(args.out, text)
    if args.readme:
        put_between_marks(args.readme, text)


if __name__ == "__main__":
    command_line.run(main)
