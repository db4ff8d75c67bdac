"""The speed table's arithmetic against worked examples."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.analysis.speedup import acceptance_length, bound, check_methods, speedup
from stages.generation.latency import turns
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit

# Per-problem mean seconds from the public run files of a Speculative Thinking baseline.
LARGE = np.array([[136.7], [635.9], [296.9], [297.5], [424.9]])
METHOD = np.array([[52.6], [166.8], [127.1], [234.4], [231.6]])


def test_speedup_and_its_sd_are_the_papers() -> None:
    assert [round(x, 2) for x in speedup(LARGE, METHOD)] == [2.21, 0.95]


def test_acceptance_length_counts_the_large_models_own_token() -> None:
    assert acceptance_length(drafts=10, accepted=15) == 2.5
    assert acceptance_length(drafts=0, accepted=0) is None


def test_the_bound_prices_each_models_tokens_at_its_own_speed() -> None:
    answers = pl.DataFrame(
        {"n_switches": [4], "wall_s": [12.0], "large_tokens": [100], "small_tokens": [100]}
    )
    costs = {"large": 0.1, "small": 0.01}
    found = bound(answers, 22.0, ("large", "small"), costs)
    assert found["handoff_ms"] == pytest.approx(250)
    assert found["bound"] == pytest.approx(2.0)
    assert found["bound_percent"] == pytest.approx(100 * 11 / 12)


def test_the_time_of_a_token_is_split_into_both_models_and_what_is_between() -> None:
    answers = pl.DataFrame(
        {"n_switches": [4], "wall_s": [12.0], "large_tokens": [100], "small_tokens": [100]}
    )
    found = bound(answers, 22.0, ("large", "small"), {"large": 0.1, "small": 0.01})
    split = (found["large_ms"], found["small_ms"], found["between_ms"])
    assert split == pytest.approx((50, 5, 5))
    assert sum(filter(None, split)) == pytest.approx(1000 * 12 / 200)


def test_there_is_no_bound_without_hand_offs_or_without_an_engine_timed_alone() -> None:
    answers = pl.DataFrame(
        {"n_switches": [0], "wall_s": [5.0], "large_tokens": [60], "small_tokens": [50]}
    )
    assert bound(answers, 22.0, ("large",), {"large": 0.1})["bound"] is None
    answers = answers.with_columns(n_switches=2)
    assert bound(answers, 22.0, ("large", "small"), {"large": 0.1})["bound"] is None


def test_a_method_that_was_not_timed_is_named() -> None:
    latency = pl.DataFrame({"method": ["large"]})
    with pytest.raises(UserError, match=r"latency\.parquet has no method 'relaygen': run the lat"):
        check_methods(latency, ["large", "relaygen"], Path("latency.parquet"))


def test_methods_take_turns_problem_by_problem_in_another_order_each_time() -> None:
    order = list(turns(["a", "b", "c"], ["p", "q"], runs=2))
    assert order == [
        (0, "p", "a"), (0, "p", "b"), (0, "p", "c"),
        (0, "q", "b"), (0, "q", "c"), (0, "q", "a"),
        (1, "p", "c"), (1, "p", "a"), (1, "p", "b"),
        (1, "q", "a"), (1, "q", "b"), (1, "q", "c"),
    ]  # fmt: skip
