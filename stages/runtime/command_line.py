"""What all command lines share: arguments, logging, signals, and errors in one line."""

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from stages.runtime import owners
from stages.runtime.errors import UserError


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments of all stages."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--params", type=Path, default=Path("params.yaml"), help="params.yaml")
    result.add_argument("--pair", help="a pair under `pairs:`")
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
            force=True,
        )
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
    """Call `main`; a UserError ends in one line and exit code 1.

    SIGTERM ends the process as Ctrl-C does: engines are stopped.
    """
    signal.signal(signal.SIGTERM, terminate)
    owners.obey()
    try:
        main()
    except UserError as error:
        if logging.getLogger().handlers:
            logging.error("error: %s", error)
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; finished answers are kept, run again to go on", file=sys.stderr)
        sys.exit(130)


def terminate(signum: int, frame: FrameType | None) -> None:
    """Exit on SIGTERM through every `finally`, so that engines are stopped."""
    sys.exit(128 + signum)
