r"""Tables in LaTeX (package booktabs) that fit into documents of one and of two columns.

A table is one column wide if it can be, else a table* of parts below each other, each with the
first column again. Widths are estimated from above.
"""

from stages.analysis.table_grid import Cell, Grid, in_latex, marked

COLUMN_PT = 225  # of an article in two columns; its page is wider than that of one column
PAGE_PT = 340  # of an article in one column, 10pt
FONT_PT = 9  # \small
GAP_PT = 8  # between two columns: twice \tabcolsep
LONGEST_PT = 150  # longer texts are set in lines of this width
NARROW, WIDE = frozenset("fijlrtI.,:;!'|()[] "), frozenset("mwMW%@")


def latex(grid: Grid, label: str) -> str:
    """Return the grid as a LaTeX table with the label tab:`label`; a comment if it has no rows."""
    if not grid.rows:
        return f"% {in_latex(grid.title)}: none\n"
    widths = [column_width(grid, i) for i in range(len(grid.header))]
    room = COLUMN_PT if total(widths) <= COLUMN_PT else PAGE_PT
    star = "" if room == COLUMN_PT else "*"
    caption = " ".join(filter(None, (f"{grid.title}.", grid.notes)))
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            rf"\begin{{table{star}}}",
            r"\centering",
            rf"\caption{{{in_latex(caption)}}}",
            rf"\label{{tab:{label}}}",
            r"\small",
            rf"\setlength{{\tabcolsep}}{{{GAP_PT // 2}pt}}",
            "\n\\par\\medskip\n".join(part(grid, widths, p) for p in parts(widths, room)),
            rf"\end{{table{star}}}",
            "",
        ]
    )


def part(grid: Grid, widths: list[float], columns: list[int]) -> str:
    """Return some of the grid's columns as a tabular."""
    kinds = "".join(kind(widths[i], first=i == 0) for i in columns)
    header = " & ".join(in_latex(grid.header[i]) for i in columns)
    body = [" & ".join(marked(row[i], "tex") for i in columns) for row in grid.rows]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            rf"{header} \\",
            r"\midrule",
            *(rf"{line} \\" for line in body),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def kind(width: float, first: bool) -> str:
    """Return the letter of a column in a tabular."""
    if width >= LONGEST_PT:
        return rf"p{{{LONGEST_PT}pt}}"
    return "l" if first else "r"


def parts(widths: list[float], room: int) -> list[list[int]]:
    """Return the numbers of the columns of each part; each begins with the first column."""
    found = [[0]]
    for i in range(1, len(widths)):
        if len(found[-1]) > 1 and total([widths[j] for j in (*found[-1], i)]) > room:
            found.append([0])
        found[-1].append(i)
    return found


def total(widths: list[float]) -> float:
    """Return the width of columns beside each other, in points."""
    return sum(widths) + GAP_PT * len(widths)


def column_width(grid: Grid, column: int) -> float:
    """Return at most how wide a column is, in points."""
    cells = [Cell(grid.header[column]), *(row[column] for row in grid.rows)]
    return min(LONGEST_PT, max(text_width(cell.text) for cell in cells))


def text_width(text: str) -> float:
    """Return at most how wide a text is in bold Computer Modern, in points."""
    ems = [
        0.45 if sign in NARROW else 1.1 if sign in WIDE else 0.88 if sign.isupper() else 0.64
        for sign in text
    ]
    return FONT_PT * sum(ems)
