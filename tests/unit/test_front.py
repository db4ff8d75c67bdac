"""Accuracy against the large model's share: the intervals, and who dominates whom."""

import polars as pl
import pytest

from stages.analysis.front import SCHEMA, compared, dominated_by, per_problem, table

pytestmark = pytest.mark.unit
N = 200


def method(wrong: int, large: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores and answers: so many of N problems wrong, so many of 10 tokens by the large model."""
    ids = pl.DataFrame({"problem_id": range(N), "repeat": [0] * N})
    scores = ids.with_columns(correct=pl.col("problem_id") >= wrong)
    return scores, ids.with_columns(large_tokens=large, small_tokens=10 - large)


def problems(**methods: tuple[int, int]) -> dict[str, pl.DataFrame]:
    return {name: per_problem(*method(*given)) for name, given in methods.items()}


def test_a_problem_has_the_means_of_its_repeats() -> None:
    ids = {"problem_id": [3, 3], "repeat": [0, 1]}
    scores = pl.DataFrame({**ids, "correct": [True, False]})
    answers = pl.DataFrame({**ids, "large_tokens": [1, 3], "small_tokens": [3, 1]})
    assert per_problem(scores, answers).row(0) == (3, 50.0, 50.0, 2)


def test_a_method_dominates_one_that_takes_more_of_the_large_model_for_the_same_accuracy() -> None:
    found = problems(cheap=(0, 1), dear=(0, 5))
    assert dominated_by(found, 200, 1) == {"cheap": "", "dear": "cheap"}


def test_none_dominates_where_each_is_better_in_one() -> None:
    found = problems(cheap=(100, 1), dear=(0, 5))
    assert dominated_by(found, 200, 1) == {"cheap": "", "dear": ""}


def test_a_difference_that_may_be_chance_is_none() -> None:
    found = problems(one=(1, 5), other=(0, 5))
    assert compared(found["one"], found["other"], 200, 1) == ("undecided", "undecided")


def test_a_row_has_the_methods_accuracy_beside_the_interval_of_its_share() -> None:
    known = {"pass_at_1": 100.0, "ci_low": 98.0, "ci_high": 100.0, "large_utilization": 10.0}
    row = {"method": "cheap", "benchmark": "b", **known, "mean_tokens": 10.0}
    found = table("demo", {"b": problems(cheap=(0, 1))}, [row], 200, 1)
    assert found.schema == SCHEMA
    assert found.select("utilization_low", "utilization_high", "dominated_by").row(0) == (
        10.0, 10.0, "",
    )  # fmt: skip
