"""Tables as printed: rounding, the best and the second, gaps, LaTeX."""

import re
from html.parser import HTMLParser

import polars as pl
import pytest
from markdown_it import MarkdownIt

from stages.analysis.latex import latex
from stages.analysis.paper_tables import accuracy_grid
from stages.analysis.table_grid import (
    Cell,
    Grid,
    in_latex,
    in_markdown,
    markdown,
    number,
    ranked,
)

pytestmark = pytest.mark.unit


def test_numbers_have_two_decimals_and_gaps_stay_empty() -> None:
    assert [number(2.205), number(2.2, 0.951), number(None)] == [
        Cell("2.21"),
        Cell("2.20 ± 0.95"),
        Cell(""),
    ]


def test_the_best_and_the_second_are_ranked_and_equal_values_share_a_rank() -> None:
    values = [70.0, None, 90.001, 90.0, 80.0]
    ranks = [cell.rank for cell in ranked([Cell()] * 5, values)]
    assert ranks == [0, 0, 1, 1, 2]


def test_markdown_marks_the_best_bold_and_the_second_underlined() -> None:
    rows = [[Cell("a"), Cell("2.00", 1)], [Cell("b"), Cell("1.00", 2)]]
    assert markdown(Grid("T", ["method", "x"], rows)) == (
        "T\n\n| method | x |\n| - | - |\n| a | **2.00** |\n| b | <u>1.00</u> |\n"
    )


def test_latex_escapes_names_and_marks_ranks() -> None:
    text = latex(
        Grid(
            "a_b (%)",
            ["method"],
            [
                [
                    Cell("spec_think"),
                ],
                [Cell("1.00 ± 0.10", 1)],
            ],
        ),
        "a",
    )
    assert r"\caption{a\_b (\%).}" in text
    assert r"spec\_think \\" in text
    assert r"\textbf{1.00 $\pm$ 0.10} \\" in text


NAMES = [
    r"a&b", "a$b$c", "a^2", "{a}", "a|b", "a_b", "_a_", "__a__", "a%b", "a#b", "# a", "a~b",
    "~~a~~", "a\\b", "a\\|b", "*a*", "`a`", "<b>a</b>", "&amp;", "[a](b)", "[a]", "$x$",
    "spec_think", "relaygen_eagle3", "draft-3.5",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_as_it_is_in_markdown(name: str) -> None:
    text = markdown(Grid(name, [name, "x"], [[Cell(name), Cell("1")], [Cell(name, 1), Cell("2")]]))
    page = Page()
    page.feed(MarkdownIt().enable("table").render(text))
    assert page.cells == [name, "x", name, "1", name, "2"]
    assert page.paragraphs == [name]


class Page(HTMLParser):
    """The texts of a page's paragraphs and of its tables' cells."""

    def __init__(self) -> None:
        super().__init__()
        self.paragraphs: list[str] = []
        self.cells: list[str] = []
        self.into: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ("p", "th", "td"):
            self.into = self.paragraphs if tag == "p" else self.cells
            self.into.append("")

    def handle_data(self, data: str) -> None:
        if self.into is not None:
            self.into[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("p", "th", "td"):
            self.into = None


def test_names_inside_words_are_left_as_they_are_in_markdown() -> None:
    assert in_markdown("relaygen_eagle3, Pass@1 (%)") == "relaygen_eagle3, Pass@1 (%)"


def test_every_special_character_is_escaped_in_latex() -> None:
    assert in_latex(r"a & $ ^ { } | _ % # ~ \ < > [ *") == (
        r"a \& \$ \textasciicircum{} \{ \} \textbar{} \_ \% \# \textasciitilde{} "
        r"\textbackslash{} \textless{} \textgreater{} {[} {*}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_name_breaks_no_row_of_a_latex_table(name: str) -> None:
    rows = [[Cell(name), Cell("1")], [Cell(name, 1), Cell("2")]]
    text = latex(Grid(name, [name, "x"], rows), "a")
    body = text.splitlines()
    printed = [line for line in body if line.endswith(r" \\")]
    assert len(printed) == 3
    for row in printed:
        assert len(re.findall(r"(?<!\\)&", row)) == 1
        bare = re.sub(r"\\[&%$#_{}]", "", row)
        assert bare.count("{") == bare.count("}")
        assert not re.search(r"[%$#_^~|<>]", bare)


def test_the_papers_column_is_there_only_where_it_has_a_value() -> None:
    table = pl.DataFrame(
        {
            "method": ["small", "large"], "benchmark": "b", "pass_at_1": [40.0, 90.0],
            "no_answer_percent": 0.0, "n_problems": 30, "n_repeats": 1, "ci_low": 30.0,
            "ci_high": 99.0,
        }
    )  # fmt: skip
    nothing = table.with_columns(paper=pl.lit(None, dtype=pl.Float64))
    assert accuracy_grid("demo", nothing).header == ["method", "b"]
    printed = table.with_columns(paper=pl.Series([None, 91.0]))
    assert accuracy_grid("qwen3", printed).header == ["method", "b", "b (paper)"]
