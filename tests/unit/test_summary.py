"""Rows of accuracy.csv against values worked out by hand."""

import polars as pl
import pytest
import yaml

from stages.analysis.accuracy import accuracy_row
from stages.analysis.paper_tables import REFERENCE, accuracy, of_pairs, speed

pytestmark = pytest.mark.unit


def test_pass_at_1_is_the_mean_over_problems_of_the_mean_over_repeats() -> None:
    scores = pl.DataFrame(
        {
            "problem_id": [0, 0, 1, 1],
            "repeat": [0, 1, 0, 1],
            "correct": [True, False, True, True],
        }
    )
    answers = pl.DataFrame(
        {"large_tokens": [60, 0], "small_tokens": [20, 20], "token_ids": [[1] * 80, [1] * 20]}
    )
    row = accuracy_row(scores, answers, resamples=100, seed=1)
    assert row["pass_at_1"] == pytest.approx(75.0)
    assert (row["n_problems"], row["n_repeats"], row["mean_tokens"]) == (2, 2, 50.0)
    assert row["large_utilization"] == pytest.approx(60.0)


def test_the_papers_figure_stands_beside_ours_only_where_it_was_printed() -> None:
    table = pl.DataFrame(
        {
            "pair": ["qwen3", "qwen3", "demo"],
            "method": ["relaygen", "eagle3", "large"],
            "benchmark": ["aime25", "aime25", "chains_long"],
        }
    )
    printed = yaml.safe_load(REFERENCE.read_text())
    assert accuracy(table, printed)["paper"].to_list() == [68.33, None, None]
    assert speed(table, printed)["paper_speedup"].to_list() == [1.29, 1.79, None]
    assert speed(table, printed)["paper_speedup_sd"].to_list() == [0.20, 0.42, None]


def test_a_pair_has_the_papers_figures_under_the_name_that_it_gives() -> None:
    printed = of_pairs(yaml.safe_load(REFERENCE.read_text()), {"mine": "r1", "demo": None})
    table = pl.DataFrame(
        {"pair": ["mine", "demo"], "benchmark": ["aime25"] * 2, "method": ["relaygen"] * 2}
    )
    assert accuracy(table, printed)["paper"].to_list() == [50.0, None]
