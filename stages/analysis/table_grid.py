"""Tables as the paper prints them: a grid of cells, and how it is written in Markdown.

The best of a column is bold, the second underlined. In LaTeX: `stages.analysis.latex`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, log10

MARKS = {
    "md": {1: "**{}**", 2: "<u>{}</u>"},
    "tex": {1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"},
}
# Characters that LaTeX does not print as they are.
LATEX = {
    "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "\n": " ",
    "[": "{[}", "*": "{*}",  # behind a line's end they would be its options
    **{character: rf"\{character}" for character in "&%$#_{}"},
}  # fmt: skip
# In Markdown, a backslash before punctuation that every renderer knows; entities for the others.
MARKDOWN = {
    **{character: rf"\{character}" for character in "\\`*[]{}|"},
    "&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "~": "&#126;", "#": "&#35;", "\n": " ",
}  # fmt: skip
# Inside a word, as in spec_think, it is no emphasis.
UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


@dataclass(frozen=True)
class Cell:
    """A printed value. `rank`: 1 for the best of its column, 2 for the second, 0 for others.

    `aside`: what the report alone shows beside it, as its interval.
    """

    text: str = ""
    rank: int = 0
    aside: str = ""


@dataclass(frozen=True)
class Grid:
    """A table to print; the first column names its rows. `notes`: sentences for the caption."""

    title: str
    header: list[str]
    rows: list[list[Cell]]
    notes: str = ""


def digits_of(n_answers: int) -> int:
    """Return the decimals that tell shares of `n_answers` apart, in percent: 0 up to 100."""
    return max(0, ceil(log10(n_answers)) - 2)


def number(value: float | None, sd: float | None = None, digits: int = 2) -> Cell:
    """Return `value` or `value ± sd`, rounded; an empty cell for None."""
    if value is None:
        return Cell()
    return Cell(f"{value:.{digits}f}" + (f" ± {sd:.{digits}f}" if sd is not None else ""))


def ranked(cells: Sequence[Cell], values: Sequence[float | None], digits: int = 2) -> list[Cell]:
    """Return `cells` ranked by `values`: higher is better, what prints alike shares a rank."""
    printed = sorted({round(value, digits) for value in values if value is not None}, reverse=True)
    ranks = {value: rank for rank, value in enumerate(printed[:2], start=1)}
    return [
        replace(cell, rank=ranks.get(round(value, digits), 0)) if value is not None else cell
        for cell, value in zip(cells, values, strict=True)
    ]


def markdown(grid: Grid) -> str:
    """Return the grid as a Markdown table; a line that says none if it has no rows."""
    if not grid.rows:
        return f"{in_markdown(grid.title)}: none\n"
    lines = [[in_markdown(title) for title in grid.header], ["-"] * len(grid.header)]
    lines += [[marked(cell, "md") for cell in row] for row in grid.rows]
    title = in_markdown(f"{grid.title}. {grid.notes}" if grid.notes else grid.title)
    return f"{title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plain(grid: Grid) -> list[str]:
    """Return the grid as lines of text: the first column to the left, the others to the right."""
    rows = [grid.header, *([cell.text for cell in row] for row in grid.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [grid.title, *lines]


def marked(cell: Cell, language: str) -> str:
    """Return the cell's text with the mark of its rank; `language`: md or tex."""
    text = in_latex(cell.text) if language == "tex" else in_markdown(cell.text)
    return MARKS[language].get(cell.rank, "{}").format(text)


def in_latex(text: str) -> str:
    """Return LaTeX that prints `text`."""
    return "".join(LATEX.get(character, character) for character in text)


def in_markdown(text: str) -> str:
    """Return Markdown that prints `text`, in a cell of a table, too."""
    escaped = "".join(MARKDOWN.get(character, character) for character in text)
    return UNDERSCORE.sub(r"\_", escaped)
