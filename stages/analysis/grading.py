"""Grade final answers against gold: math by math-verify, multiple choice by letter.

A missing final answer is wrong, and so is one that the budget cut off. A missing row of answers is
an error, not a wrong answer.
"""

import polars as pl

from stages.analysis.boxes import last_boxed
from stages.analysis.choices import choice_letter
from stages.analysis.equality import same_math
from stages.config.schema import Scoring

SCHEMA = pl.Schema(
    {
        "method": pl.String,
        "benchmark": pl.String,
        "problem_id": pl.Int64,
        "repeat": pl.Int64,
        "predicted": pl.String,
        "gold": pl.String,
        "correct": pl.Boolean,
    }
)


def is_correct(predicted: str | None, gold: str, scoring: Scoring) -> bool:
    """Return whether a final answer is the gold one; None is not."""
    if predicted is None:
        return False
    if scoring == "choice":
        return choice_letter(predicted) == gold
    return same_math(gold, predicted)


def score(frame: pl.DataFrame, problems: pl.DataFrame, scoring: Scoring) -> pl.DataFrame:
    """Return problem_id, repeat, predicted, gold, correct of one method on one benchmark.

    `frame`: the answers; `problems`: the problem set with its gold answers.
    """
    joined = frame.join(problems.select("problem_id", "gold"), on="problem_id")
    joined = joined.sort("problem_id", "repeat")
    predicted = [
        last_boxed(text) if reason == "stop" else None
        for text, reason in joined.select("answer_text", "finish_reason").iter_rows()
    ]
    correct = [
        is_correct(p, gold, scoring) for p, gold in zip(predicted, joined["gold"], strict=True)
    ]
    return joined.select("problem_id", "repeat", "gold").with_columns(
        pl.Series("predicted", predicted, dtype=pl.String), pl.Series("correct", correct)
    )


def without_final(scores: pl.DataFrame, n_cut: int) -> str | None:
    """Return a line on the answers without a final answer; None where there are none.

    `scores`: rows of scores.parquet; `n_cut`: how many of the answers the budget cut off.
    """
    missing = scores.filter(pl.col("predicted").is_null())
    if missing.is_empty():
        return None
    counts = missing.group_by("method", "benchmark").len("n").sort("n", "method", "benchmark")
    method, benchmark, n = counts.row(-1)
    return (
        f"{len(missing)} of {len(scores)} answers have no final answer and count as wrong, "
        f"{n_cut} of them cut off by the budget; most: {n} of {method} on {benchmark}"
    )
