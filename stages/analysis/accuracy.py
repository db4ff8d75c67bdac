"""One pair's rows of accuracy.csv (Pass@1 with intervals, tokens, utilization) and of
left_out.csv (methods and benchmarks that the run left out).

Pass@1 is the mean over problems of the mean over repeats, in percent (paper Table 2). Its interval:
see `stages.analysis.bootstrap.accuracy_interval`.
"""

import numpy as np
import polars as pl

from stages.analysis.bootstrap import Floats, accuracy_interval
from stages.analysis.repeats import AtK, at_k

LEFT_OUT = pl.Schema({"pair": pl.String(), "left_out": pl.String(), "reason": pl.String()})


class AccuracyRow(AtK):
    """The values of one method on one benchmark; percentages 0-100, intervals of 95 %."""

    pass_at_1: float
    ci_low: float
    ci_high: float
    sem: float | None
    n_problems: int
    n_repeats: int
    mean_tokens: float
    large_utilization: float
    cut_percent: float
    no_answer_percent: float


def accuracy_row(
    scores: pl.DataFrame, answers: pl.DataFrame, resamples: int, seed: int
) -> AccuracyRow:
    """Return the values of one method on one benchmark.

    `scores`: rows of scores.parquet, `answers`: the answers that were scored. An answer that the
    budget cut off has no final answer: it counts in both shares.
    """
    by_problem = scores.group_by("problem_id", maintain_order=True).agg(pl.col("correct").mean())
    per_problem = by_problem["correct"].to_numpy() * 100
    n_repeats = scores["repeat"].n_unique()
    low, high = accuracy_interval(per_problem, n_repeats, resamples, seed)
    large, small = int(answers["large_tokens"].sum()), int(answers["small_tokens"].sum())
    return {
        "pass_at_1": float(per_problem.mean()),
        "ci_low": low,
        "ci_high": high,
        "sem": standard_error(per_problem),
        "n_problems": len(per_problem),
        "n_repeats": n_repeats,
        **at_k(scores),
        "mean_tokens": float(answers["token_ids"].list.len().to_numpy().mean()),
        "large_utilization": 100 * large / (large + small),
        "cut_percent": percent(answers["finish_reason"] == "length"),
        "no_answer_percent": percent(scores["predicted"].is_null()),
    }


def standard_error(per_problem: Floats) -> float | None:
    """Return that of the mean of `per_problem` [problems]; None for a single problem."""
    if len(per_problem) == 1:
        return None
    return float(np.std(per_problem, ddof=1) / np.sqrt(len(per_problem)))


def percent(which: pl.Series) -> float:
    """Return the share of what is true, in percent."""
    return 100 * int(which.sum()) / len(which)


def left_out_rows(pair: str, reasons: dict[str, str]) -> pl.DataFrame:
    """Return the table of what a pair was run without; often empty. `reasons`: {name: reason}."""
    rows = [(pair, name, reason) for name, reason in reasons.items()]
    return pl.DataFrame(rows, schema=LEFT_OUT, orient="row")
