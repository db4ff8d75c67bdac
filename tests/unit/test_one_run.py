"""Two runs in one checkout: the second says so; a dead one is in nobody's way."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.runtime.errors import UserError
from stages.runtime.one_run import claim

pytestmark = pytest.mark.unit
HOLD = """
import sys, time
from pathlib import Path
from stages.runtime.one_run import claim
file = claim(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_run_is_told_who_runs_and_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "run.lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"another run is under way .*process {first.pid}\)"):
            claim(lock)
        os.kill(first.pid, signal.SIGKILL)
    claim(lock).close()


def test_a_lock_that_cannot_be_written_or_is_a_link_is_named(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs", encoding="utf-8")
    (tmp_path / "run.lock").symlink_to(theirs)
    with pytest.raises(UserError, match=r"run\.lock: cannot be written to: Too many levels of"):
        claim(tmp_path / "run.lock")
    assert theirs.read_text(encoding="utf-8") == "theirs"
    with pytest.raises(UserError, match="cannot be written to: File exists"):
        claim(theirs / "run.lock")
