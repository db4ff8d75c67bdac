"""Digests of files and folders.

Models of 65 GB are part of what results depend on: they are read once, not at every start.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from stages.tracking.memory import Memory


@cache
def memory() -> Memory:
    """Return the digests that are known."""
    return Memory("digests")


def of_files(files: Iterable[Path]) -> dict[str, str]:
    """Return {path: SHA-256 as 16 hexadecimal digits}."""
    found = {str(file): str(memory().of(file, sha256)[:16]) for file in files}
    memory().save()
    return found


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_folder(folder: Path, counts: Callable[[str], bool] = lambda _: True) -> str:
    """Return one digest of a folder's files by name. `counts`: whether a file of a name does."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".pyc") and counts(path.name)
    )
    parts = of_files(files)
    named = [[str(file.relative_to(folder)), parts[str(file)]] for file in files]
    return of_value(named)


def of_value(*parts: object) -> str:
    """Return a short digest of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
