"""Rows of accuracy.csv against values worked out by hand."""

import polars as pl
import pytest
import yaml

from stages.analysis.accuracy import AccuracyRow, accuracy_row
from stages.analysis.paper_tables import REFERENCE, accuracy, accuracy_grid, of_pairs, speed
from stages.analysis.repeats import at_k, majority

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def row() -> AccuracyRow:
    """Four answers to two problems; one was cut off, that and another have no final answer."""
    scores = pl.DataFrame(
        {
            "problem_id": [0, 0, 1, 1],
            "repeat": [0, 1, 0, 1],
            "correct": [True, False, True, True],
            "predicted": ["7", None, "7", None],
        }
    )
    answers = pl.DataFrame(
        {
            "large_tokens": [60, 0, 0, 0], "small_tokens": [20, 20, 0, 0],
            "token_ids": [[1] * 80, [1] * 20, [1] * 50, [1] * 50],
            "finish_reason": ["stop", "stop", "stop", "length"],
        }
    )  # fmt: skip
    return accuracy_row(scores, answers, resamples=100, seed=1)


def test_pass_at_1_is_the_mean_over_problems_of_the_mean_over_repeats(row: AccuracyRow) -> None:
    assert row["pass_at_1"] == pytest.approx(75.0)
    assert (row["n_problems"], row["n_repeats"], row["mean_tokens"]) == (2, 2, 50.0)
    assert row["large_utilization"] == pytest.approx(60.0)


def test_the_standard_error_is_over_problems(row: AccuracyRow) -> None:
    assert row["sem"] == pytest.approx(25.0)  # of 50 and 100


def test_pass_at_k_counts_problems_with_a_right_answer(row: AccuracyRow) -> None:
    assert row["pass_at_k"] == 100.0


@pytest.mark.parametrize(
    ("answers", "chance"),
    [
        ([(True, "7"), (True, "7.0"), (False, "8")], 1.0),
        ([(True, "7"), (False, "8"), (False, " 8")], 0.0),
        ([(True, "7"), (False, "8")], 0.5),
        ([(True, "7"), (False, None), (False, None)], 1.0),
        ([(False, None)], 0.0),
    ],
    ids=["forms of the right one", "forms of a wrong one", "tie", "no vote", "no votes"],
)
def test_the_most_frequent_final_answer_counts(
    answers: list[tuple[bool, str | None]], chance: float
) -> None:
    assert majority(answers) == chance


def test_one_answer_per_problem_has_no_value_for_several() -> None:
    once = pl.DataFrame({"problem_id": [0, 1], "repeat": [0, 0], "correct": [True, False],
                         "predicted": ["7", "8"]})  # fmt: skip
    assert at_k(once) == {"pass_at_k": None, "majority_at_k": None}


def test_answers_that_were_cut_off_or_have_no_final_answer_are_counted(row: AccuracyRow) -> None:
    assert row["cut_percent"] == 25.0
    assert row["no_answer_percent"] == 50.0


def test_these_shares_are_printed_only_where_there_are_such_answers(row: AccuracyRow) -> None:
    def header(**shares: float) -> list[str]:
        line = {"method": "large", "benchmark": "b", **row, "paper": None, **shares}
        return accuracy_grid("demo", pl.DataFrame([line])).header

    assert header() == ["method", "b", "b, cut off (%)", "b, no answer (%)"]
    assert header(no_answer_percent=0.0, cut_percent=0.0) == ["method", "b"]


def test_the_papers_figure_stands_beside_ours_only_where_it_was_printed() -> None:
    table = pl.DataFrame(
        {
            "pair": ["qwen3", "qwen3", "demo"],
            "method": ["relaygen", "eagle3", "large"],
            "benchmark": ["aime25", "aime25", "chains_long"],
        }
    )
    printed = yaml.safe_load(REFERENCE.read_text())
    assert accuracy(table, printed)["paper"].to_list()[:3] == [68.33, None, None]
    times = speed(table.drop("benchmark"), printed)
    assert times["paper_speedup"].to_list()[:3] == [1.29, 1.79, None]
    assert times["paper_speedup_sd"].to_list()[:3] == [0.20, 0.42, None]
    assert times["paper_large_utilization"].to_list()[:3] == [69.80, 100.0, None]


def test_a_method_of_the_papers_that_was_not_run_gets_a_row() -> None:
    table = pl.DataFrame(
        {"pair": ["qwen3", "demo"], "method": "large", "benchmark": ["aime25", "b"], "speedup": 1.0}
    )
    printed = yaml.safe_load(REFERENCE.read_text())
    rows = accuracy(table, printed).filter(method="r2r")
    assert rows.select("pair", "benchmark", "speedup", "paper").rows() == [
        ("qwen3", "aime25", None, 62.50)
    ]
    assert speed(table, printed).filter(method="r2r")["paper_large_utilization"].to_list() == [
        19.27
    ]


def test_a_benchmark_that_the_paper_has_not_is_printed_beside_one_that_it_has() -> None:
    table = pl.DataFrame(
        {
            "pair": "qwen3", "method": "large", "benchmark": ["aime25", "mine"],
            "pass_at_1": [70.0, 50.0], "no_answer_percent": 0.0, "ci_low": None,
            "ci_high": None, "n_problems": 30, "n_repeats": 1,
        }
    )  # fmt: skip
    grid = accuracy_grid("qwen3", accuracy(table, yaml.safe_load(REFERENCE.read_text())))
    r2r = next(row for row in grid.rows if row[0].text == "R2R")
    assert [cell.text for cell in r2r] == ["R2R", "", "62.50", ""]


def test_a_pair_has_the_papers_figures_under_the_name_that_it_gives() -> None:
    printed = of_pairs(yaml.safe_load(REFERENCE.read_text()), {"mine": "r1", "demo": None})
    table = pl.DataFrame(
        {"pair": ["mine", "demo"], "benchmark": ["aime25"] * 2, "method": ["relaygen"] * 2}
    )
    assert accuracy(table, printed)["paper"].to_list()[:2] == [50.0, None]
