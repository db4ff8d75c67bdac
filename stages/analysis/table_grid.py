"""Tables as the paper prints them: a grid of cells, in Markdown and in LaTeX.

Numbers have two decimals; the best of a column is bold, the second underlined.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

MARKS = {
    "md": {1: "**{}**", 2: "<u>{}</u>"},
    "tex": {1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"},
}
LATEX = {"_": r"\_", "%": r"\%", "±": r"$\pm$"}


@dataclass(frozen=True)
class Cell:
    """A printed value. `rank`: 1 for the best of its column, 2 for the second, 0 for others."""

    text: str = ""
    rank: int = 0


@dataclass(frozen=True)
class Grid:
    """A table to print; the first column names its rows."""

    title: str
    header: list[str]
    rows: list[list[Cell]]


def number(value: float | None, sd: float | None = None) -> Cell:
    """Return `value` or `value ± sd` with two decimals; an empty cell for None."""
    if value is None:
        return Cell()
    return Cell(f"{value:.2f}" + (f" ± {sd:.2f}" if sd is not None else ""))


def ranked(cells: Sequence[Cell], values: Sequence[float | None]) -> list[Cell]:
    """Return `cells` ranked by `values`: higher is better, what prints alike shares a rank."""
    printed = sorted({round(value, 2) for value in values if value is not None}, reverse=True)
    ranks = {value: rank for rank, value in enumerate(printed[:2], start=1)}
    return [
        replace(cell, rank=ranks.get(round(value, 2), 0)) if value is not None else cell
        for cell, value in zip(cells, values, strict=True)
    ]


def markdown(grid: Grid) -> str:
    """Return the grid as a Markdown table."""
    lines = [grid.header, ["-"] * len(grid.header)]
    lines += [[marked(cell, "md") for cell in row] for row in grid.rows]
    return f"{grid.title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(grid: Grid) -> str:
    """Return the grid as a LaTeX table (package booktabs)."""
    columns = "l" + "r" * (len(grid.header) - 1)
    body = [" & ".join(marked(cell, "tex") for cell in row) for row in grid.rows]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escaped(grid.title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(escaped, grid.header)) + r" \\",
            r"\midrule",
            *(rf"{line} \\" for line in body),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def marked(cell: Cell, language: str) -> str:
    """Return the cell's text with the mark of its rank; `language`: md or tex."""
    text = escaped(cell.text) if language == "tex" else cell.text
    return MARKS[language].get(cell.rank, "{}").format(text)


def escaped(text: str) -> str:
    """Return `text` with LaTeX's special characters escaped."""
    return "".join(LATEX.get(character, character) for character in text)
