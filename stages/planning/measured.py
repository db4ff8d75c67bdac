"""What an earlier run of a pair has measured: tokens of answers, and times of tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stages.tracking.frames import ACCURACY, SPEEDS, read_csv


@dataclass(frozen=True)
class Measured:
    """`tokens`: {(method, benchmark): of an answer}; `ms_per_token`: {method: alone}."""

    tokens: Mapping[tuple[str, str], float] = field(default_factory=dict)
    ms_per_token: Mapping[str, float] = field(default_factory=dict)


def measured(summaries: Path) -> Measured:
    """Return what a pair's summaries say, as far as they are there."""
    accuracy, speed = summaries / "accuracy.csv", summaries / "speed.csv"
    tokens = read_csv(accuracy, ACCURACY) if accuracy.is_file() else None
    speeds = read_csv(speed, SPEEDS) if speed.is_file() else None
    return Measured(
        {}
        if tokens is None
        else {
            (method, benchmark): n
            for method, benchmark, n in tokens.select("method", "benchmark", "mean_tokens").rows()
        },
        {}
        if speeds is None
        else {
            method: 1000 / per_s for method, per_s in speeds.select("method", "tokens_per_s").rows()
        },
    )
