"""Tables in Parquet and CSV files: written atomically, read or named in one line."""

import json
from pathlib import Path

import polars as pl

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


def scan_parquet(path: Path) -> pl.LazyFrame:
    """The table in `path` before it is read, or that line."""
    check_file(path)
    return pl.scan_parquet(path)


def read_parquet(path: Path) -> pl.DataFrame:
    """The table in `path`, likewise."""
    return scan_parquet(path).collect()
