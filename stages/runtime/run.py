"""Run what is out of date, by DVC: a line per stage, then what came out.

All that DVC, Snakemake and the stages print goes to logs/run.log.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stages.analysis.closing import closing
from stages.config.params import load
from stages.config.schema import Params
from stages.engine.server import die_with_parent
from stages.planning.due import outputs
from stages.runtime.board import Board
from stages.runtime.durations import spelled
from stages.runtime.progress import LISTENED_TO

LOG = Path("logs/run.log")
RWLOCK = Path(".dvc/tmp/rwlock")
COMMAND = (sys.executable, "-m", "dvc", "repro")
LAST_LINES = 15  # of the log, shown if a run fails without a word of a stage's own
REFRESH_S = 1.0


def main() -> None:
    """Run, and print what came out; exit code that of DVC."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    params = load(Path("params.yaml"))  # the file that DVC reads
    remove_broken_lock(Path())
    LOG.parent.mkdir(exist_ok=True)
    begun, board = time.monotonic(), Board(n_stages(params), sys.stdout)
    with LOG.open("w", encoding="utf-8") as log, started() as process, refreshed(board):
        for line in process.stdout or ():
            log.write(line)
            log.flush()
            board.read(line)
    took = spelled(time.monotonic() - begun)
    board.end(failed=process.returncode != 0)
    if process.returncode:
        print("\n".join(failure(board, took)), file=sys.stderr)
        sys.exit(process.returncode)
    if board.skipped:
        board.print(f"{board.skipped} of {board.n_stages} stages were up to date")
    board.print("\n".join(["", *closing(Path("results"), params.run, took, LOG)]))


def remove_broken_lock(folder: Path) -> None:
    """Remove DVC's note of what is locked if a kill left it half-written.

    DVC writes it in place several times per stage, and refuses every run after that.
    """
    with suppress(FileNotFoundError):
        try:
            json.loads((folder / RWLOCK).read_text(encoding="utf-8"))
        except json.JSONDecodeError:
            (folder / RWLOCK).unlink()


def n_stages(params: Params) -> int:
    """Return the number of stages that DVC goes through; the first writes the recipes."""
    return 1 + len(outputs(params))


@contextmanager
def started() -> Iterator[subprocess.Popen[str]]:
    """Start DVC; yield it, and wait until it has ended."""
    with subprocess.Popen(
        COMMAND,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {LISTENED_TO: "1"},
        preexec_fn=die_with_parent,
    ) as process:
        try:
            yield process
        except KeyboardInterrupt:  # the terminal has told DVC, too: it ends its jobs
            process.communicate()
            raise
        except BaseException:
            process.terminate()
            raise


@contextmanager
def refreshed(board: Board) -> Iterator[None]:
    """Have the board count seconds while nothing is printed."""
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(REFRESH_S):
            board.refresh()

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def failure(board: Board, took: str) -> Iterator[str]:
    """Yield why a run ended; the log's last lines if no stage has said it."""
    if not board.said:
        yield from LOG.read_text(encoding="utf-8").splitlines()[-LAST_LINES:]
    yield f"stopped after {took}; all output is in {LOG}; finished answers are kept: run again"
