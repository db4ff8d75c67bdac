"""A method against the large model: differences by problem, their interval, who beats whom."""

import polars as pl
import pytest
import yaml

from stages.analysis.differences import DifferenceRow, difference_row
from stages.analysis.paper_tables import REFERENCE, differences

pytestmark = pytest.mark.unit


def scores(right: list[bool]) -> pl.DataFrame:
    """Rows of scores.parquet: one answer per problem."""
    return pl.DataFrame({"problem_id": range(len(right)), "repeat": 0, "correct": right})


def row(method: list[bool], large: list[bool]) -> DifferenceRow:
    return difference_row(scores(method), scores(large), resamples=1000, seed=1)


def test_a_method_that_loses_many_problems_and_wins_none_is_worse() -> None:
    found = row([i >= 10 for i in range(30)], [True] * 30)
    assert found["difference"] == pytest.approx(-100 / 3)
    assert found["ci_low"] < -100 / 3 < found["ci_high"] < 0
    assert found["verdict"] == "worse"


def test_the_large_model_can_be_beaten() -> None:
    assert row([True] * 30, [i >= 10 for i in range(30)])["verdict"] == "better"


def test_methods_that_solve_the_same_problems_are_not_said_to_be_equal_for_sure() -> None:
    found = row([True] * 30, [True] * 30)
    assert found["difference"] == 0.0
    assert found["ci_low"] < -3
    assert found["ci_high"] > 3
    assert found["verdict"] == "undecided"


def test_problems_are_matched_by_their_id() -> None:
    some = scores([True, False] * 15)
    found = difference_row(some, some.reverse(), resamples=1000, seed=1)
    assert (found["difference"], found["verdict"]) == (0.0, "undecided")
    assert found["ci_high"] == pytest.approx(row([True] * 30, [True] * 30)["ci_high"])


def test_the_papers_difference_is_that_of_its_values() -> None:
    table = pl.DataFrame(
        {"pair": "qwen3", "method": ["relaygen", "mine"], "benchmark": ["aime25"] * 2}
    )
    printed = yaml.safe_load(REFERENCE.read_text())
    assert differences(table, printed)["paper"].to_list() == [pytest.approx(-1.67), None]
