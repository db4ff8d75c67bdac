"""Private folders for the temporary files of engines, none of which outlives the next run."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".relaygen-engine-"
# A socket's path has at most 107 characters; 63 of them are the names of folder and socket.
LONGEST_BASE = 107 - 63


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a new folder that only this user may enter, and remove it."""
    sweep()
    folder, lock = make()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def base() -> Path:
    """Return where temporary files belong, unless a socket's path gets too long there."""
    usual = tempfile.gettempdir()
    return Path(usual if len(usual) <= LONGEST_BASE else "/tmp")


def make() -> tuple[Path, int]:
    """Return a new folder and its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base()))
        with suppress(FileNotFoundError):
            lock = opened(folder)
            with suppress(OSError):  # some file systems have no locks: nobody removes it there
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)  # another process has removed it, for it was not locked yet


def sweep() -> None:
    """Remove the folders whose owners were killed.

    An owner locks its folder, and the lock goes with the process.
    """
    for folder in base().glob(f"{PREFIX}*"):
        remove_ownerless(folder)


def remove_ownerless(folder: Path) -> None:
    """Remove a folder if it is this user's and nobody has locked it."""
    with suppress(OSError):
        if folder.stat().st_uid != os.getuid():
            return
        lock = opened(folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def opened(folder: Path) -> int:
    """Return a handle of a folder, which may not be a link."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
