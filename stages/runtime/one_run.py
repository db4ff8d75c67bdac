"""One run at a time in a checkout, by a lock that ends with its process."""

import fcntl
import os
from pathlib import Path
from typing import IO

from stages.runtime.errors import UserError

LOCK = Path(".snakemake/run.lock")


def claim(lock: Path = LOCK) -> IO[str]:
    """Lock this folder for as long as the returned file stays open.

    Raises UserError if another run has it. The lock ends with the process, even if it is killed.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(f"{lock}: cannot be written to: {error.strerror}") from error
    file = os.fdopen(number, "r+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = file.read().strip() or "unknown"
        file.close()
        raise UserError(
            f"another run is under way in this folder (process {owner}): wait until it has ended"
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
