"""One pair's rows of policies.csv: accuracy against the large model's share, who dominates whom.

Both are compared problem by problem, with a paired bootstrap over problems.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from stages.analysis.bootstrap import Floats, mean_interval, paired_interval
from stages.analysis.differences import Verdict, verdict

SCHEMA = pl.Schema(
    {
        "pair": pl.String(),
        "method": pl.String(),
        "benchmark": pl.String(),
        "pass_at_1": pl.Float64(),
        "ci_low": pl.Float64(),
        "ci_high": pl.Float64(),
        "large_utilization": pl.Float64(),
        "utilization_low": pl.Float64(),
        "utilization_high": pl.Float64(),
        "dominated_by": pl.String(),
    }
)


def per_problem(scores: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Return a row per problem: `correct` (percent), `share` of the large model (percent), repeats.

    `scores`, `answers`: a method's rows on one benchmark. `share` is the mean over repeats.
    """
    by_large = pl.col("large_tokens") / (pl.col("large_tokens") + pl.col("small_tokens"))
    return (
        answers.select("problem_id", "repeat", share=100 * by_large.fill_nan(0.0))
        .join(scores.select("problem_id", "repeat", "correct"), on=["problem_id", "repeat"])
        .group_by("problem_id")
        .agg(pl.mean("share"), correct=100 * pl.mean("correct"), repeats=pl.len())
        .sort("problem_id")
    )


def share_interval(problems: pl.DataFrame, resamples: int, seed: int) -> tuple[float, float]:
    """Return the interval of the mean share over problems, in percent."""
    return mean_interval(problems["share"].to_numpy(), resamples, seed)


def dominated_by(problems: Mapping[str, pl.DataFrame], resamples: int, seed: int) -> dict[str, str]:
    """Return {method: the methods that dominate it, with commas between}.

    `problems`: {method: its row per problem}. A method dominates another if it is shown to be
    better in accuracy or share, and is not shown to be worse in the other.
    """

    def dominates(one: pl.DataFrame, other: pl.DataFrame) -> bool:
        found = compared(one, other, resamples, seed)
        return "better" in found and "worse" not in found

    return {
        name: ", ".join(by for by, one in problems.items() if by != name and dominates(one, other))
        for name, other in problems.items()
    }


def compared(
    one: pl.DataFrame, other: pl.DataFrame, resamples: int, seed: int
) -> tuple[Verdict, Verdict]:
    """Return how the first of two methods compares in accuracy and in the large model's share."""
    correct = difference(one, other, "correct")
    low, high = paired_interval(correct, int(one["repeats"][0]), resamples, seed)
    share = mean_interval(difference(other, one, "share"), resamples, seed)
    return verdict(low, high), verdict(*share)


def difference(one: pl.DataFrame, other: pl.DataFrame, column: str) -> Floats:
    """Return the differences of a column [problems]."""
    return np.asarray(one[column].to_numpy() - other[column].to_numpy(), dtype=np.float64)


def table(
    pair: str,
    problems: Mapping[str, Mapping[str, pl.DataFrame]],
    accuracy: Sequence[Mapping[str, Any]],
    resamples: int,
    seed: int,
) -> pl.DataFrame:
    """Return policies.csv of a pair.

    `problems`: {benchmark: {method: its row per problem}}; `accuracy`: rows of accuracy.csv.
    """
    by = {name: dominated_by(methods, resamples, seed) for name, methods in problems.items()}
    rows = []
    for row in accuracy:
        method, benchmark = row["method"], row["benchmark"]
        low, high = share_interval(problems[benchmark][method], resamples, seed)
        own = {"utilization_low": low, "utilization_high": high}
        rows.append({**row, **own, "pair": pair, "dominated_by": by[benchmark][method]})
    return pl.DataFrame([{name: row[name] for name in SCHEMA} for row in rows], schema=SCHEMA)
