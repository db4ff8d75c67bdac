"""95 % intervals of the tables that have one.

Wilson's for one answer per problem, percentile bootstrap for all others. These resample what is
independent of one another: problems (accuracy), runs of a problem (speed), traces (cue effects).
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]
PERCENTILES = [2.5, 97.5]
Z = 1.959963984540054  # the normal distribution's 97.5th percentile


def percentile_interval(resampled: Floats) -> Interval:
    """Return the 95 % interval of a statistic from its resampled values."""
    low, high = np.percentile(resampled, PERCENTILES)
    return float(low), float(high)


def accuracy_interval(per_problem: Floats, n_repeats: int, resamples: int, seed: int) -> Interval:
    """Return the interval of the mean of `per_problem` [problems], in percent (0-100).

    One answer per problem: Wilson's interval. Several: repeats of one problem are not independent,
    so problems are resampled. One more problem is among them that went the rarer way: never solved
    if the mean is at least 50, always solved else. Without it, problems that were all solved would
    give the interval [100, 100].
    """
    if n_repeats == 1:
        return wilson_interval(per_problem)
    rarer = 0.0 if per_problem.mean() >= 50 else 100.0
    return mean_interval(np.append(per_problem, rarer), resamples, seed)


def paired_interval(differences: Floats, n_repeats: int, resamples: int, seed: int) -> Interval:
    """Return the interval of the mean of `differences` [problems], in percentage points.

    Problems are resampled, with two more among them that favour either side. Without these,
    methods that solve the same problems would have the interval [0, 0]. For one answer per problem,
    they differ by 100, as in Bonett and Price (2012); means of several spread less, by the root.
    """
    more = 100 / sqrt(n_repeats)
    return mean_interval(np.append(differences, [-more, more]), resamples, seed)


def wilson_interval(values: Floats) -> Interval:
    """Return Wilson's score interval of the share of `values`, each 0 or 100, in percent."""
    n, share = len(values), float(values.mean()) / 100
    center = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    # Rounded, so that the end of the scale is in the interval in spite of the sums' last digits.
    return round(100 * (center - half), 9), round(100 * (center + half), 9)


def mean_interval(values: Floats, resamples: int, seed: int) -> Interval:
    """Return the interval of the mean of `values` [problems], resampling problems."""
    random = np.random.default_rng(seed)
    picks = random.integers(len(values), size=(resamples, len(values)))
    return percentile_interval(values[picks].mean(axis=1))


def ratio_interval(first: Floats, second: Floats, resamples: int, seed: int) -> Interval:
    """Return the interval of mean `first` / mean `second`, resampling runs within each problem.

    Both are [problems, runs]. The same runs are drawn from both: methods take turns within a run,
    so that other load on the machine affects both.
    """
    random = np.random.default_rng(seed)
    picks = random.integers(first.shape[1], size=(resamples, *first.shape))

    def means(values: Floats) -> Floats:
        drawn: Floats = np.take_along_axis(values[None], picks, axis=2).mean(axis=(1, 2))
        return drawn

    return percentile_interval(means(first) / means(second))


def draw_weights(n_traces: int, resamples: int, seed: int) -> Floats:
    """Return how often each trace is drawn in each resample: [resamples, traces]."""
    random = np.random.default_rng(seed)
    return random.multinomial(n_traces, [1 / n_traces] * n_traces, size=resamples).astype(float)


def difference_interval(sums: Floats, weights: Floats) -> Interval | None:
    """Return the interval of the mean inside a cue's segments minus the mean of all other tokens.

    `sums` [traces, 4]: sum and number of the tokens inside, sum and number of all tokens. `weights`
    [resamples, traces]: see `draw_weights`. Resamples without tokens on either side do not count;
    None if no others are left.
    """
    inside, n_inside, total, n_total = (weights @ sums).T
    usable = (n_inside > 0) & (n_total > n_inside)
    if not usable.any():
        return None
    inside, n_inside, total, n_total = (
        column[usable] for column in (inside, n_inside, total, n_total)
    )
    return percentile_interval(inside / n_inside - (total - inside) / (n_total - n_inside))
