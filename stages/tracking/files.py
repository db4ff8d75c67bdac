"""Writing files atomically: a reader sees the old file or the new one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from stages.runtime.errors import UserError

Row = dict[str, Any]
WRITTEN = (Path("results"), Path("store"), Path("logs"))  # what a run writes into
ROOM_BYTES = 1 << 20


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when all went well.

    It is made here under a name that nobody can know before, so that no link is written through.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers() -> None:
    """Remove temporary files of killed processes; only while no other run writes."""
    for folder in WRITTEN:
        for left in folder.rglob(".*.tmp"):
            left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def try_to_write(folder: Path) -> None:
    """Raise OSError if a file of a megabyte cannot be written into a folder; leave none."""
    with TemporaryFile(dir=folder) as file:
        file.write(os.urandom(ROOM_BYTES))  # zeros may take no room
        file.flush()
        os.fsync(file.fileno())


def check_room() -> None:
    """Raise UserError if results, finished answers or logs could not be written to disk."""
    here = str(Path.cwd())
    if "{" in here or "}" in here:
        raise UserError(f"{here}: DVC fails in a folder with {{ or }} in its path: rename it")
    for folder in WRITTEN:
        try:
            folder.mkdir(exist_ok=True)
            try_to_write(folder)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be written to ({error.strerror}): free some space or make it "
                "writable, then start again"
            ) from error


def check_file(path: Path) -> None:
    """Nothing, or one line that says which file is missing."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; an earlier stage makes it")
