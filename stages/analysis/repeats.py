"""What several answers to a problem tell: pass@k and majority@k, for all k repeats there are.

With k = the number of repeats both are unbiased: no subset of the repeats has to be averaged over.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TypedDict

import polars as pl

from stages.analysis.answer_forms import words


class AtK(TypedDict):
    """Percentages 0-100, means over problems; None for one answer per problem."""

    pass_at_k: float | None
    majority_at_k: float | None


def at_k(scores: pl.DataFrame) -> AtK:
    """Return both for one method on one benchmark. `scores`: its rows of scores.parquet."""
    if scores["repeat"].n_unique() == 1:
        return {"pass_at_k": None, "majority_at_k": None}
    problems = scores.group_by("problem_id").agg("correct", "predicted")
    solved = [any(correct) for correct in problems["correct"]]
    voted = [
        majority(zip(correct, predicted, strict=True))
        for correct, predicted in problems.select("correct", "predicted").iter_rows()
    ]
    n = len(problems)
    return {"pass_at_k": 100 * sum(solved) / n, "majority_at_k": 100 * sum(voted) / n}


def majority(answers: Iterable[tuple[bool, str | None]]) -> float:
    """Return the chance (0-1) that the most frequent final answer is right; ties are drawn by lot.

    `answers`: whether it is right, and the final answer. None has no vote; wrong ones are the same
    if they are written the same, apart from blanks and case.
    """
    votes = Counter(
        True if correct else words(predicted) for correct, predicted in answers if predicted
    )
    most = max(votes.values(), default=0)
    winners = [answer for answer, n in votes.items() if n == most]
    return winners.count(True) / len(winners) if winners else 0.0
