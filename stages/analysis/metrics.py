"""The numbers that `dvc metrics show` and `dvc metrics diff` compare."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from stages.tracking.files import write_text

OF_ACCURACY = ("pass_at_1", "mean_tokens", "large_utilization")
OF_SPEED = ("speedup", "tokens_per_s", "large_utilization")
DIGITS = 3
Metrics = dict[str, dict[str, dict[str, float]]]


def metrics(accuracy: pl.DataFrame, speed: pl.DataFrame) -> Metrics:
    """Return {PAIR-METHOD: {benchmark, or "speed": {column: value}}}; none of the paper's."""
    found: Metrics = {}
    for row in accuracy.filter(pl.col("pass_at_1").is_not_null()).iter_rows(named=True):
        found.setdefault(name(row), {})[row["benchmark"]] = chosen(row, OF_ACCURACY)
    for row in speed.filter(pl.col("speedup").is_not_null()).iter_rows(named=True):
        found.setdefault(name(row), {})["speed"] = chosen(row, OF_SPEED)
    return found


def name(row: dict[str, Any]) -> str:
    """Return the name of a method's file."""
    return f"{row['pair']}-{row['method']}"


def write(folder: Path, found: Metrics) -> None:
    """Write a file for each method, and remove those of others.

    DVC prints a line per file, and takes every file for metrics: no notes lie beside them.
    """
    for one, values in found.items():
        write_text(folder / f"{one}.json", json.dumps(values, indent=2) + "\n")
    for file in folder.glob("*.json"):
        if file.stem not in found:
            file.unlink()


def chosen(row: dict[str, Any], columns: tuple[str, ...]) -> dict[str, float]:
    """Return some columns of a row, rounded."""
    return {name: round(row[name], DIGITS) for name in columns}
