"""Which policy a pair should use: candidates, and rounds in which the worse half is left out.

All of it is about the calibration set; benchmarks play no part.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import polars as pl

from stages.analysis.differences import difference_row
from stages.config.schema import Pair, Tune
from stages.config.tunable import is_open, with_threshold
from stages.runtime.errors import UserError
from stages.tracking.files import Row

DIGITS = 3  # of a threshold


@dataclass(frozen=True)
class Candidate:
    """A policy of the grid. `line`: as under `methods:`; `threshold`: None if nothing was open."""

    name: str
    line: dict[str, Any]
    quantile: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What a candidate's answers to the first `n_problems` problems came to, in percent."""

    candidate: Candidate
    n_problems: int
    values: Row

    @property
    def rank(self) -> tuple[float, float]:
        """Return what sorts the better one first: points shown to be lost beyond the limit, share.

        Few problems show little: one that may be as good as the large model is not left out yet.
        """
        return self.values["shown_excess"], self.values["large_utilization"]


def check_problems(name: str, pair: Pair) -> None:
    """Raise UserError if the pair has traces in place of problems that could be answered."""
    if pair.recorded:
        raise UserError(
            f"pairs.{name}.calibration: traces that are there already cannot be answered anew; "
            "tune needs a problem set"
        )


def thresholds(
    margins: pl.DataFrame, content: str, quantiles: Sequence[float]
) -> dict[float, float]:
    """Return {threshold: quantile} of the small model's margins at content tokens of the traces.

    `margins`: rows of margins.parquet. Raises UserError if no token has content.
    """
    counted = margins.filter(pl.col("stage") == "reasoning", pl.col("token").str.contains(content))[
        "margin"
    ]
    if counted.is_empty():
        raise UserError(f"no token of the traces matches the family's content: {content!r}")
    found: dict[float, float] = {}
    for quantile in quantiles:
        value = round(float(counted.quantile(quantile, "linear") or 0), DIGITS)
        found.setdefault(min(1.0, max(10**-DIGITS, value)), quantile)
    return found


def candidates(tune: Tune, found: Mapping[float, float]) -> Iterator[Candidate]:
    """Yield each policy with each threshold; one without an open threshold once."""
    for name, line in tune.policies.items():
        if not is_open(line):
            yield Candidate(name, line)
            continue
        for threshold, quantile in found.items():
            whole = with_threshold(line, threshold)
            yield Candidate(f"{name}@{threshold}", whole, quantile, threshold)


def rounds(n_candidates: int, first: int, n_problems: int) -> Iterator[tuple[int, int]]:
    """Yield (candidates, problems) of each round: half as many, and twice the problems.

    The last round has all problems, and two candidates or more, if there are as many.
    """
    n = min(first, n_problems)
    while True:
        yield n_candidates, n
        if n == n_problems:
            return
        n_candidates, n = max(min(2, n_candidates), -(-n_candidates // 2)), min(2 * n, n_problems)


def halved(
    grid: Sequence[Candidate],
    first: int,
    n_problems: int,
    outcome: Callable[[Candidate, int], Outcome],
) -> Iterator[Outcome]:
    """Yield what every candidate came to in every round; the better half goes on to the next."""
    left = list(grid)
    for n_left, n in rounds(len(left), first, n_problems):
        left = left[:n_left]
        found = sorted((outcome(one, n) for one in left), key=lambda one: one.rank)
        yield from found
        left = [one.candidate for one in found]


def values(
    answers: pl.DataFrame,
    scores: pl.DataFrame,
    large: pl.DataFrame,
    max_loss: float,
    resamples: int,
    seed: int,
) -> Row:
    """Return a row of the grid. `scores`, `large`: of these answers and of the large model alone.

    `excess`: points of Pass@1 lost to the large model beyond `max_loss`; `shown_excess`: those that
    are lost even at the better end of the interval.
    """
    differs = difference_row(scores, large, resamples, seed)
    tokens = answers.select(pl.sum("large_tokens", "small_tokens")).row(0)
    return {
        "pass_at_1": 100 * fmean(scores["correct"]),
        "difference": differs["difference"],
        "ci_low": differs["ci_low"],
        "ci_high": differs["ci_high"],
        "excess": max(0.0, -differs["difference"] - max_loss),
        "shown_excess": max(0.0, -differs["ci_high"] - max_loss),
        "large_utilization": 100 * tokens[0] / max(1, sum(tokens)),
        "mean_tokens": sum(tokens) / len(answers),
        "mean_switches": fmean(answers["n_switches"]),
    }


def chosen(outcomes: Sequence[Outcome], n_problems: int) -> Outcome | None:
    """Return the one with the lowest share among those that lose no more than the limit.

    Only those count that answered all problems; None if each of them loses more.
    """
    whole = [one for one in outcomes if one.n_problems == n_problems and not one.values["excess"]]
    return min(whole, key=lambda one: one.rank, default=None)


def table(outcomes: Sequence[Outcome], best: Outcome | None) -> pl.DataFrame:
    """Return the grid: a row per candidate and round."""
    rows = [
        {
            "policy": one.candidate.name,
            "quantile": one.candidate.quantile,
            "threshold": one.candidate.threshold,
            "n_problems": one.n_problems,
            **one.values,
            "chosen": one is best,
        }
        for one in outcomes
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def in_words(best: Outcome | None, references: Sequence[Outcome]) -> str:
    """Return the choice beside what it is compared with, a line each."""
    lines = [
        f"{one.candidate.name}: Pass@1 {one.values['pass_at_1']:.1f} %, large model's share "
        f"{one.values['large_utilization']:.1f} %, {one.n_problems} problems"
        for one in [*references, *filter(None, [best])]
    ]
    return "\n".join([*lines, *([] if best else ["no policy loses as little as tune.max_loss"])])
