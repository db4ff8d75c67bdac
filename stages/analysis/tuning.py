"""Which policy a pair should use: candidates, and rounds in which the worse half is left out.

All of it is about the calibration set; benchmarks play no part.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final, Literal, NamedTuple

import polars as pl

from stages.analysis import mixture
from stages.analysis.differences import difference_row
from stages.config.schema import Pair, Tune
from stages.config.tunable import is_open, with_threshold
from stages.runtime.errors import UserError
from stages.tracking.files import Row

DIGITS = 3  # of a threshold
MIXTURE: Final = "mixture"
BASE = {"kind": "relay", "large": "large", "small": "small", "cues": "pair"}


class Threshold(NamedTuple):
    """A margin to try. `quantile`: the share of the margins at content tokens below it.

    `by`: how it was found, `quantile` or `mixture`.
    """

    value: float
    quantile: float
    by: Literal["quantile", "mixture"]


@dataclass(frozen=True)
class Candidate:
    """A policy of the grid. `line`: as under `methods:`; `threshold`: None if nothing was open."""

    name: str
    line: dict[str, Any]
    quantile: float | None = None
    threshold: float | None = None
    by: str | None = None


LARGE = Candidate("large", {"kind": "single", "engine": "large", "cues": "none"})
PAPER = Candidate("relaygen", BASE)


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


def at_content(margins: pl.DataFrame, content: str) -> pl.Series:
    """Return the small model's margins at content tokens of the traces.

    `margins`: rows of margins.parquet. Raises UserError if no token has content.
    """
    counted = margins.filter(pl.col("stage") == "reasoning", pl.col("token").str.contains(content))[
        "margin"
    ]
    if counted.is_empty():
        raise UserError(f"no token of the traces matches the family's content: {content!r}")
    return counted


def thresholds(counted: pl.Series, quantiles: Sequence[float]) -> list[Threshold]:
    """Return quantiles of the margins that count, each value once."""
    found: dict[float, Threshold] = {}
    for quantile in quantiles:
        value = rounded(float(counted.quantile(quantile, "linear") or 0))
        found.setdefault(value, Threshold(value, quantile, "quantile"))
    return list(found.values())


def rounded(value: float) -> float:
    """Return a threshold as lines have it: in (0, 1]."""
    return float(min(1.0, max(1 / 10**DIGITS, round(value, DIGITS))))


def by_mixture(counted: pl.Series) -> Threshold:
    """Return where two kinds of margins meet; UserError if there are not two."""
    value = mixture.threshold(counted.to_numpy())
    if value is None:
        raise UserError(
            "the small model's margins at content tokens are all of one kind: a mixture of two "
            "Gaussians does not divide them; use quantiles"
        )
    return Threshold(rounded(value), float((counted < value).to_numpy().mean()), MIXTURE)


def grid_thresholds(counted: pl.Series, tune: Tune) -> list[Threshold]:
    """Return the thresholds that the block `tune` asks for, each value once."""
    found = thresholds(counted, tune.quantiles)
    more = [by_mixture(counted)] if tune.mixture else []
    return found + [one for one in more if one.value not in {known.value for known in found}]


def without_answers(
    counted: pl.Series, tune: Tune, policy: str | None, by: str | None
) -> Candidate:
    """Return a policy with a threshold that no answer was asked for.

    `by`: `mixture`, or a quantile. Raises UserError for a policy that has no threshold open.
    """
    if policy is None or not is_open(tune.policies.get(policy, {})):
        have = ", ".join(name for name, line in tune.policies.items() if is_open(line))
        raise UserError(f"--by needs --policy: a line of tune.policies with a threshold: {have}")
    found = by_mixture(counted) if by == MIXTURE else thresholds(counted, [a_quantile(by)])[0]
    (one,) = candidates(
        tune.model_copy(update={"policies": {policy: tune.policies[policy]}}), [found]
    )
    return one


def a_quantile(given: str | None) -> float:
    """Return a number between 0 and 1; UserError if it is none."""
    try:
        value = float(given or "")
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        what = f"--by {given}" if given else "--policy needs --by"
        raise UserError(f"{what}: give mixture, or a quantile between 0 and 1")
    return value


def candidates(tune: Tune, found: Sequence[Threshold]) -> Iterator[Candidate]:
    """Yield each policy with each threshold; one without an open threshold once."""
    for name, line in tune.policies.items():
        if not is_open(line):
            yield Candidate(name, line)
            continue
        for value, quantile, by in found:
            yield Candidate(f"{name}@{value}", with_threshold(line, value), quantile, value, by)


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
            "by": one.candidate.by,
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
