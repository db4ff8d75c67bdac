"""Bootstrap intervals: what they hold, and that a seed gives the same numbers for good."""

import numpy as np
import polars as pl
import pytest

from stages.analysis.bootstrap import (
    Floats,
    accuracy_interval,
    mean_interval,
    percentile_interval,
    ratio_interval,
    wilson_interval,
)
from stages.analysis.cue_effects import effects, read_corpus
from stages.config.schema import Cues

pytestmark = pytest.mark.unit

# Per-problem mean seconds from the public run files of a Speculative Thinking baseline.
LARGE = np.array([[136.7], [635.9], [296.9], [297.5], [424.9]])
METHOD = np.array([[52.6], [166.8], [127.1], [234.4], [231.6]])


def test_an_interval_holds_95_percent_of_the_resampled_values() -> None:
    assert percentile_interval(np.arange(1001.0)) == (25.0, 975.0)


def test_the_interval_of_a_mean_repeats_with_the_seed_and_holds_the_mean() -> None:
    values = np.array([0.0, 50.0, 100.0, 100.0])
    low, high = mean_interval(values, 1000, seed=3)
    assert (low, high) == mean_interval(values, 1000, seed=3)
    assert low < values.mean() < high


def test_the_interval_of_equal_problems_is_a_point() -> None:
    assert mean_interval(np.full(5, 80.0), 100, seed=1) == (80.0, 80.0)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(30, 30, 88.65, 100), (0, 30, 0, 11.35), (28, 30, 78.68, 98.15)]
)
def test_wilsons_interval_is_the_published_one(right: int, n: int, low: float, high: float) -> None:
    values = np.where(np.arange(n) < right, 100.0, 0.0)
    assert wilson_interval(values) == pytest.approx((low, high), abs=0.01)


@pytest.mark.parametrize("n_repeats", [1, 4])
@pytest.mark.parametrize("share", [0.0, 100.0])
def test_an_interval_at_the_ends_is_no_point_and_holds_the_end(
    share: float, n_repeats: int
) -> None:
    low, high = accuracy_interval(np.full(30, share), n_repeats, 1000, seed=1)
    assert low <= share <= high
    assert 6 < high - low < 15


def simulated_coverage(n_repeats: int, alike: float) -> float:
    """The share of 1,500 runs of 30 problems whose interval holds the true value, 90 to 100 %.

    `alike`: correlation of a problem's repeats; the chances of problems have a beta distribution.
    """
    random, spread, covered = np.random.default_rng(5), 1 / alike - 1, 0
    for truth in random.uniform(0.9, 1, size=1500):
        chances = random.beta(truth * spread, (1 - truth) * spread, size=30)
        values: Floats = 100 * random.binomial(n_repeats, chances) / n_repeats
        low, high = accuracy_interval(values, n_repeats, 300, seed=1)
        covered += low <= 100 * truth <= high
    return covered / 1500


@pytest.mark.parametrize(("n_repeats", "alike"), [(1, 0.3), (4, 0.1), (4, 0.7), (16, 0.3)])
def test_intervals_hold_the_true_value_in_93_to_97_percent_of_runs_near_100(
    n_repeats: int, alike: float
) -> None:
    assert 0.93 <= simulated_coverage(n_repeats, alike) <= 0.97


def test_the_interval_of_runs_that_do_not_vary_is_a_point() -> None:
    low, high = ratio_interval(LARGE, METHOD, resamples=50, seed=1)
    assert (low, high) == pytest.approx((2.2054, 2.2054), abs=1e-4)


def test_the_interval_covers_the_speedup_of_runs_that_vary() -> None:
    noise = np.random.default_rng(0).uniform(0.9, 1.1, size=(5, 5))
    low, high = ratio_interval(LARGE * noise, METHOD * noise[::-1], resamples=500, seed=1)
    assert low < 2.2054 < high
    assert high - low < 0.5


def test_a_slow_minute_that_hit_both_methods_does_not_widen_the_interval() -> None:
    slow = np.random.default_rng(0).uniform(1, 2, size=(5, 5))
    low, high = ratio_interval(LARGE * slow, LARGE * slow / 2, resamples=50, seed=1)
    assert (low, high) == pytest.approx((2, 2))


def same(low: float, high: float) -> object:
    """Equal to the last digits."""
    return pytest.approx((low, high), rel=1e-12)


def test_a_seed_draws_the_same_for_good() -> None:
    # Recorded when each table had an interval function of its own. Another draw would differ by far
    # more than another processor's sums do.
    random = np.random.default_rng(7)
    per_problem = 25.0 * random.integers(0, 5, size=30).astype(np.float64)
    assert mean_interval(per_problem, 1000, seed=42) == same(41.666666666666664, 66.66666666666667)
    large, method = random.uniform(20, 40, size=(6, 5)), random.uniform(8, 25, size=(6, 5))
    assert ratio_interval(large, method, 1000, 42) == same(1.6453179271230187, 2.0426298093678223)
    words = [" we", " get", ".", " Thus", " so", " Wait"]
    margins = pl.DataFrame(
        {
            "problem_id": np.arange(240) // 40,
            "repeat": [0] * 240,
            "token": [words[i] for i in random.integers(len(words), size=240)],
            "margin": random.random(240),
            "stage": ["reasoning"] * 240,
        }
    )
    cues = Cues(min_segments=1, min_delta=0.0, bootstrap=1000)
    corpus = read_corpus(margins.lazy(), include_prompt=False)
    found = effects(corpus, ["Thus", "Wait", "Hence"], "boundary", cues, seed=42)
    intervals = {row["cue"]: (row["ci_low"], row["ci_high"]) for row in found.to_dicts()}
    assert intervals == {
        "Thus": same(-0.0449765743051221, 0.11037660598554816),
        "Wait": same(-0.04838467693546084, 0.044705516900457015),
        "Hence": (None, None),
    }
