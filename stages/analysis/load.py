"""One pair's rows of throughput.csv, from the answers under load.

A method is charged for all cores or GPUs that its engines hold, whether they compute or wait. Its
answers a minute are compared with those of the large model on as much hardware: as many engines of
it as fit, with the same number of answers in flight.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
import polars as pl

LEVEL = ("method", "replicas", "in_flight")


class LoadRow(TypedDict):
    """The values of one method with some answers in flight; percentages 0-100, times in seconds."""

    method: str
    replicas: int
    in_flight: int
    answers_per_min: float
    tokens_per_min: float
    median_s: float
    p95_s: float
    first_token_s: float | None
    large_utilization: float
    engines: int
    cores: int
    gpus: int
    core_s_per_answer: float
    gpu_s_per_answer: float
    large_replicas: int
    against_large: float
    other_load: float
    n_answers: int
    n_problems: int


Level = tuple[Any, ...]  # method, replicas, in flight


def load_rows(answers: pl.DataFrame) -> list[LoadRow]:
    """Return the rows of all levels, from the rows of throughput.parquet."""
    levels = dict(answers.group_by(*LEVEL, maintain_order=True))
    return [load_row(level, levels) for level in levels]


def load_row(level: Level, levels: Mapping[Level, pl.DataFrame]) -> LoadRow:
    """Return the values of one level; `levels`: the answers of each."""
    answers = levels[level]
    held, seconds = answers.row(0, named=True), float(answers["level_s"][0])
    large, n = int(answers["large_tokens"].sum()), len(answers)
    tokens = large + int(answers["small_tokens"].sum())
    beside = same_hardware(level, levels)
    return {
        "method": held["method"],
        "replicas": held["replicas"],
        "in_flight": held["in_flight"],
        "answers_per_min": per_minute(answers),
        "tokens_per_min": 60 * tokens / seconds,
        "median_s": quantile(answers, 0.5),
        "p95_s": quantile(answers, 0.95),
        "first_token_s": median(answers["first_token_s"]),
        "large_utilization": 100 * large / tokens,
        "engines": held["engines"],
        "cores": held["cores"],
        "gpus": held["gpus"],
        "core_s_per_answer": held["cores"] * seconds / n,
        "gpu_s_per_answer": held["gpus"] * seconds / n,
        "large_replicas": int(levels[beside]["replicas"][0]),
        "against_large": per_minute(answers) / per_minute(levels[beside]),
        "other_load": held["other_load"],
        "n_answers": n,
        "n_problems": answers["problem_id"].n_unique(),
    }


def median(seconds: pl.Series) -> float | None:
    """Return the median; None where a method hands over text, which is not streamed."""
    known = seconds.drop_nulls().to_numpy()
    return float(np.median(known)) if len(known) else None


def per_minute(answers: pl.DataFrame) -> float:
    """Return the answers a minute of one level."""
    return 60 * len(answers) / float(answers["level_s"][0])


def quantile(answers: pl.DataFrame, share: float) -> float:
    """Return a quantile of the seconds that answers took."""
    return float(answers["wall_s"].quantile(share, "linear") or 0)


def same_hardware(level: Level, levels: Mapping[Level, pl.DataFrame]) -> Level:
    """Return the level of the large model with the most engines that fit on a level's hardware."""
    room, in_flight = units(levels[level]), level[-1]
    fitting = {
        one: units(part)
        for one, part in levels.items()
        if one[0] == "large" and one[-1] == in_flight
    }
    return max(
        (one for one in fitting if fitting[one] <= room or one[1] == 1),
        key=lambda one: (fitting[one], one[1]),
    )


def units(answers: pl.DataFrame) -> int:
    """Return the GPUs that a level held, or the cores on a CPU."""
    return int(answers["gpus"][0] or answers["cores"][0])


def pays_at(table: pl.DataFrame, method: str) -> list[int]:
    """Return the numbers in flight at which a method gives more answers a minute than the large
    model on the same hardware. `table`: a pair's rows of throughput.csv.
    """
    rows = table.filter(pl.col("against_large") > 1, method=method, replicas=1)
    return rows["in_flight"].to_list()
