"""One pair's rows of differences.csv: each method's Pass@1 minus the large model's, by problem."""

from typing import Literal, TypedDict

import polars as pl

from stages.analysis.bootstrap import paired_interval

Verdict = Literal["better", "worse", "undecided"]
SCHEMA = pl.Schema(
    {
        "pair": pl.String(),
        "method": pl.String(),
        "benchmark": pl.String(),
        "difference": pl.Float64(),
        "ci_low": pl.Float64(),
        "ci_high": pl.Float64(),
        "verdict": pl.String(),
        "n_problems": pl.Int64(),
        "n_repeats": pl.Int64(),
    }
)


class DifferenceRow(TypedDict):
    """One method against the large model on one benchmark; percentage points."""

    difference: float
    ci_low: float
    ci_high: float
    verdict: Verdict
    n_problems: int
    n_repeats: int


def difference_row(
    scores: pl.DataFrame, large: pl.DataFrame, resamples: int, seed: int
) -> DifferenceRow:
    """Return a method's difference to the large model; both are rows of scores.parquet.

    Problems are resampled with both methods' answers: what makes a problem hard hits both.
    """
    means = [rows.group_by("problem_id").agg(pl.col("correct").mean()) for rows in (scores, large)]
    both = means[0].join(means[1], on="problem_id", suffix="_large").sort("problem_id")
    difference = 100 * (both["correct"] - both["correct_large"]).to_numpy()
    n_repeats = scores["repeat"].n_unique()
    low, high = paired_interval(difference, n_repeats, resamples, seed)
    return {
        "difference": float(difference.mean()),
        "ci_low": low,
        "ci_high": high,
        "verdict": verdict(low, high),
        "n_problems": len(difference),
        "n_repeats": n_repeats,
    }


def verdict(low: float, high: float) -> Verdict:
    """Return who beats whom: undecided if the interval holds 0."""
    if low > 0:
        return "better"
    return "worse" if high < 0 else "undecided"
