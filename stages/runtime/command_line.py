"""What all command lines share: arguments, logging, signals, and errors in one line."""

import argparse
import errno
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

import stages
from stages.runtime import owners
from stages.runtime.errors import UserError

OS_ERROR = re.compile(r"\(os error (\d+)\)")
# What a machine may refuse: {number of the error: what to do about it}.
REFUSED = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "make it writable",
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
    errno.ENOTDIR: "a folder is needed there: remove the file",
    errno.EISDIR: "a file is needed there: remove the folder",
    errno.EIO: "check the disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs",
}


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are named in one line."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2, without the usage."""
        self.exit(2, f"error: {message} (--help explains all options)\n")


def parser(doc: str | None, per_pair: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the arguments of all stages; `per_pair`: a stage of one pair."""
    result = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--params", type=Path, default=Path("params.yaml"), help="params.yaml")
    if per_pair:
        result.add_argument("--pair", required=True, help="a pair under `pairs:`")
    result.add_argument("--log", type=Path, help="also log to this file")
    result.add_argument("--recipe", type=Path, help="the recipe that the run was planned with")
    return result


def start_log(path: Path | None) -> None:
    """Log lines with times to `path`; the terminal shows only progress bars and errors."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        logging.basicConfig(
            filename=path,
            filemode="w",
            level=logging.INFO,
            format="%(asctime)s %(message)s",
            encoding="utf-8",
            force=True,
        )
        logging.raiseExceptions = False  # a full disk is said once, where the run ends of it
        for library in ("httpx", "httpx2", "httpcore", "matplotlib", "fontTools"):
            logging.getLogger(library).setLevel(logging.WARNING)


def warn(line: str) -> None:
    """Print a warning on the terminal, and log it."""
    if logging.getLogger().handlers:
        logging.warning("warning: %s", line)
    print(f"warning: {line}", file=sys.stderr)


def engine_logs(log: Path | None) -> Path:
    """Return the folder for the servers' logs: beside the stage's log, named after it."""
    return log.with_suffix("") if log else Path("logs/engines")


def run(main: Callable[[], None]) -> None:
    """Call `main`; a UserError, or a disk that takes no more, ends in one line and exit code 1.

    SIGTERM ends the process as Ctrl-C does: engines are stopped.
    """
    signal.signal(signal.SIGTERM, terminate)
    owners.obey()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what the terminal's locale lacks
    try:
        if signal.getsignal(signal.SIGINT) is stages.end:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    except UserError as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("interrupted; finished answers are kept, run again to go on", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not (line := about_the_system(error)):
            raise
        fail(line)


def fail(line: str) -> NoReturn:
    """Say on the terminal and in the log why this ends, and end it with exit code 1."""
    if logging.getLogger().handlers:
        logging.error("error: %s", line)
    print(f"error: {line}", file=sys.stderr)
    sys.exit(1)


def about_the_system(error: Exception) -> str:
    """Return in one line what the machine refused, a write as a rule; empty for other errors."""
    number = getattr(error, "errno", None)
    if found := OS_ERROR.search(str(error)):  # as polars words it
        number = int(found[1])
    if number not in REFUSED:
        return ""
    name = getattr(error, "filename", None)
    return f"{name or 'writing failed'}: {os.strerror(number)}: {REFUSED[number]}, then run again"


def terminate(signum: int, frame: FrameType | None) -> None:
    """Exit on SIGTERM through every `finally`, so that engines are stopped."""
    sys.exit(128 + signum)
