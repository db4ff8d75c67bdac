"""Reading and writing: atomic, and append-only where work in progress must survive a crash."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from stages.runtime.errors import UserError

Row = dict[str, Any]


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text)


def write_parquet(path: Path, frame: pl.DataFrame, provenance: Row | None = None) -> None:
    """Write `frame` to `path`, atomically, with where it came from in the file's metadata."""
    metadata = {"provenance": json.dumps(provenance)} if provenance else None
    with atomic(path) as temporary:
        frame.write_parquet(temporary, metadata=metadata)


def write_csv(path: Path, frame: pl.DataFrame) -> None:
    """Write `frame` to `path`, atomically."""
    with atomic(path) as temporary:
        frame.write_csv(temporary)


def check_file(path: Path) -> None:
    """Nothing, or one line that says which file is missing."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; an earlier stage makes it")


def scan_parquet(path: Path) -> pl.LazyFrame:
    """The table in `path` before it is read, or that line."""
    check_file(path)
    return pl.scan_parquet(path)


def read_parquet(path: Path) -> pl.DataFrame:
    """The table in `path`, likewise."""
    return scan_parquet(path).collect()


def note_beside(path: Path) -> Path:
    """The file that says where a file without metadata came from, in all of its formats."""
    return path.with_suffix(".provenance.json")


def write_provenance(origin: Row, *files: Path) -> None:
    """Note beside `files`, one result in several formats, where it came from.

    Not in them: with the same figures they are the same, byte for byte.
    """
    content = {"files": {file.name: digest_files(file) for file in files}, "origin": origin}
    write_text(note_beside(files[0]), json.dumps(content, indent=2) + "\n")


def read_provenance(path: Path) -> Row:
    """Where a file came from, as it was noted when it was written; empty if it was not."""
    origin: Row = {}
    if path.suffix == ".parquet":
        origin = json.loads(pl.read_parquet_metadata(path).get("provenance", "{}"))
    elif note_beside(path).is_file():
        note = json.loads(note_beside(path).read_text())
        # A note on other contents is none on these.
        if note["files"].get(path.name) == digest_files(path):
            origin = note["origin"]
    return origin


def digest(*parts: Any) -> str:
    """A short hash of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def digest_files(*paths: Path) -> str:
    """A short hash of the contents of files and folders, by name."""
    total = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if file.suffix != ".pyc":
                total.update(file.name.encode())
                with file.open("rb") as content:
                    total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()[:16]


class Shard:
    """Finished answers of a stage under way: one JSON line each, on disk before the next is asked.

    A line torn by a crash is dropped when the shard is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            whole = path.read_bytes()
            whole = whole[: whole.rfind(b"\n") + 1]
            self.rows = [json.loads(line) for line in whole.splitlines()]
            os.truncate(path, len(whole))
        self._file = path.open("ab")

    def append(self, row: Row) -> None:
        """Keep one finished answer."""
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows.append(row)

    def remove(self) -> None:
        """Forget the shard: its rows are in the stage's output."""
        self._file.close()
        self.path.unlink()
