"""Telling two kinds of margins apart without labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.analysis.mixture import Floats, fit, threshold

pytestmark = pytest.mark.unit


def two_kinds(low: float, high: float, n_low: int = 300, n_high: int = 700) -> Floats:
    """Log-odds of two kinds, each normal with a standard deviation of 1."""
    random = np.random.default_rng(7)
    return np.concatenate([random.normal(low, 1, n_low), random.normal(high, 1, n_high)])


def as_margins(log_odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-log_odds))


def test_the_kinds_that_values_were_drawn_from_are_found() -> None:
    found = fit(two_kinds(-1, 7))
    assert found
    assert found.means == pytest.approx([-1, 7], abs=0.2)
    assert found.sds == pytest.approx([1, 1], abs=0.15)
    assert found.weights == pytest.approx([0.3, 0.7], abs=0.01)


def test_kinds_of_equal_weight_and_spread_are_divided_half_way() -> None:
    divided = threshold(as_margins(two_kinds(-4, 4, 500, 500)))
    assert divided == pytest.approx(0.5, abs=0.1)


def test_the_rarer_kind_gets_the_smaller_part_between_them() -> None:
    rare, even = (threshold(as_margins(two_kinds(-2, 2, n, 500))) for n in (25, 500))
    assert rare
    assert even
    assert rare < even


@given(st.permutations(list(range(60))))
def test_the_order_of_the_tokens_plays_no_part(order: list[int]) -> None:
    margins = as_margins(two_kinds(-1, 6, 20, 40))
    assert threshold(margins[order]) == pytest.approx(threshold(margins))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_margins_that_are_all_the_same_are_not_divided(value: float) -> None:
    assert threshold(np.full(10, value)) is None


def test_margins_of_exactly_0_and_1_are_divided() -> None:
    divided = threshold(np.array([0.0] * 10 + [1.0] * 30))
    assert divided
    assert 0 < divided < 1
