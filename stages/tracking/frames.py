"""Tables in Parquet and CSV files: written atomically, read or named in one line."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stages.runtime.errors import UserError
from stages.tracking.files import Row, atomic, check_file


def write_parquet(path: Path, frame: pl.DataFrame, provenance: Row | None = None) -> None:
    """Write `frame` to `path`, atomically, with where it came from in the file's metadata."""
    metadata = {"provenance": json.dumps(provenance)} if provenance else None
    with atomic(path) as temporary:
        frame.write_parquet(temporary, metadata=metadata)


def write_csv(path: Path, frame: pl.DataFrame) -> None:
    """Write `frame` to `path`, atomically."""
    with atomic(path) as temporary:
        frame.write_csv(temporary)


@dataclass(frozen=True)
class Kind:
    """A kind of table: what it is, and columns with their types that tell it from the others."""

    what: str
    columns: dict[str, type[pl.DataType]]


# Columns of CSV files that hold texts, whatever they look like.
NAMES = (
    "pair",
    "method",
    "benchmark",
    "cue_set",
    "cue",
    "left_out",
    "reason",
    "verdict",
    "dominated_by",
)
ID = {"problem_id": pl.Int64, "repeat": pl.Int64}
PROBLEM_SET = "a problem set (results/PAIR/problems/SET.parquet)"
GOLD = Kind(PROBLEM_SET, {"problem_id": pl.Int64, "gold": pl.String})
PROMPTS = Kind(PROBLEM_SET, {"problem_id": pl.Int64, "prompt_ids": pl.List})
TRACES = Kind(
    "traces (results/PAIR/traces.parquet)",
    {**ID, "prompt_ids": pl.List, "token_ids": pl.List, "reasoning_tokens": pl.Int64},
)
MARGINS = Kind(
    "margins (results/PAIR/margins.parquet)",
    {**ID, "token": pl.String, "margin": pl.Float64, "stage": pl.String},
)
ANSWERS = Kind(
    "a method's answers (results/PAIR/generations/METHOD/BENCHMARK.parquet)",
    {**ID, "answer_text": pl.String, "token_ids": pl.List, "finish_reason": pl.String},
)
SCORES = Kind(
    "scores (results/PAIR/scores.parquet)",
    {"method": pl.String, "benchmark": pl.String, **ID, "correct": pl.Boolean},
)
LATENCIES = Kind(
    "latencies (results/PAIR/latency.parquet)",
    {
        "method": pl.String,
        **ID,
        "wall_s": pl.Float64,
        "segments": pl.List,
        "drafts": pl.Int64,
        "draft_at": pl.List,
        "draft_accepted": pl.List,
    },
)
LOADS = Kind(
    "answers under load (results/PAIR/throughput.parquet)",
    {"method": pl.String, **ID, "in_flight": pl.Int64, "level_s": pl.Float64},
)
CUES = Kind(
    "cue effects (results/PAIR/cues.csv)",
    {"cue": pl.String, "n_segments": pl.Int64, "selected": pl.Boolean},
)
SUMMARY = Kind("a table of a pair (results/summaries/PAIR/TABLE.csv)", {"pair": pl.String})
ACCURACY = Kind(
    "a table of accuracies (accuracy.csv)",
    {**SUMMARY.columns, "method": pl.String, "benchmark": pl.String, "pass_at_1": pl.Float64},
)
SPEEDS = Kind(
    "a table of speeds (speed.csv)",
    {**SUMMARY.columns, "method": pl.String, "speedup": pl.Float64},
)


def check_columns(path: Path, have: Mapping[str, pl.DataType], kind: Kind) -> None:
    """Raise UserError, in one line, unless a table with the columns `have` is of the kind."""
    if missing := [name for name in kind.columns if name not in have]:
        lacks = ", ".join(f"'{name}'" for name in missing)
        raise UserError(f"{path}: no column {lacks}; it should be {kind.what}")
    for name, wanted in kind.columns.items():
        if not alike(have[name], wanted):
            raise UserError(
                f"{path}: the column '{name}' is of type {have[name].base_type()}, not {wanted}; "
                f"it should be {kind.what}"
            )


def alike(given: pl.DataType, wanted: type[pl.DataType]) -> bool:
    """Return whether a column may be of the type `given`: its width does not matter.

    An empty column has no type in CSV files, and one of whole numbers that of these.
    """
    if wanted.is_integer():
        return given.is_integer()
    if wanted.is_float():
        return given.is_numeric()
    return given.base_type() == wanted


def check_parquet(path: Path, kind: Kind) -> None:
    """Raise UserError, in one line, unless `path` is a Parquet file of the kind."""
    check_file(path)
    try:
        have = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: not a Parquet file; it should be {kind.what}") from error
    check_columns(path, have, kind)


def scan_parquet(path: Path, kind: Kind | None = None) -> pl.LazyFrame:
    """Return the table in `path` before it is read; UserError if it is not of the kind."""
    if kind:
        check_parquet(path, kind)
    check_file(path)
    return pl.scan_parquet(path)


def read_parquet(path: Path, kind: Kind | None = None) -> pl.DataFrame:
    """Return the table in `path`; UserError if it is not of the kind, or damaged."""
    try:
        return scan_parquet(path, kind).collect()
    except pl.exceptions.ComputeError as error:
        raise UserError(f"{path}: not a Parquet file; remove it and make it again") from error


def read_csv(path: Path, kind: Kind) -> pl.DataFrame:
    """Return the table in a CSV file; UserError if it is not of the kind.

    Names are texts, also those that look like numbers: a pair may be called 007.
    """
    check_file(path)
    try:
        table = pl.read_csv(path, schema_overrides=dict.fromkeys(NAMES, pl.String))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: not a CSV file; it should be {kind.what}") from error
    check_columns(path, table.schema if len(table) else without_rows(table, kind), kind)
    return table


def without_rows(table: pl.DataFrame, kind: Kind) -> dict[str, pl.DataType]:
    """Return the columns of a CSV file without rows, which have no types, as of the kind."""
    return {name: kind.columns.get(name, pl.String)() for name in table.columns}
