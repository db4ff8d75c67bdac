"""Tables as printed: rounding, the best and the second, gaps, LaTeX."""

import polars as pl
import pytest

from stages.analysis.paper_tables import accuracy_grid
from stages.analysis.table_grid import Cell, Grid, latex, markdown, number, ranked

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
        )
    )
    assert r"\caption{a\_b (\%)}" in text
    assert r"spec\_think \\" in text
    assert r"\textbf{1.00 $\pm$ 0.10} \\" in text


def test_the_papers_column_is_there_only_where_it_has_a_value() -> None:
    table = pl.DataFrame(
        {"method": ["small", "large"], "benchmark": ["b", "b"], "pass_at_1": [40.0, 90.0]}
    )
    nothing = table.with_columns(paper=pl.lit(None, dtype=pl.Float64))
    assert accuracy_grid("demo", nothing).header == ["method", "b"]
    printed = table.with_columns(paper=pl.Series([None, 91.0]))
    assert accuracy_grid("qwen3", printed).header == ["method", "b", "b (paper)"]
