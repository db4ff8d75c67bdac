"""RelayGen as a pipeline: one module a stage, named as its rule, run as `python -m stages.NAME`."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

PROGRAMS = ("-m", "relaygen")  # what a program of this package is called while it imports


def end(signum: int, frame: FrameType | None) -> None:
    """End this process as Ctrl-C ends one that has no handler.

    Not by the system's own handling: that would be lost once polars has put its handler before it.
    """
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


# Ctrl-C shows no traceback while modules are imported; stages.runtime.command_line then takes over.
if (
    sys.argv
    and Path(sys.argv[0]).name in PROGRAMS
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, end)
