"""Ctrl-C at any moment, also while modules are imported: no traceback."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

# A program of this project that tells where it is, and waits there for Ctrl-C.
PROGRAM = """
import signal, sys, time
sys.argv = ["relaygen"]
import stages, polars
from stages.runtime import command_line

def tell():
    print("here", flush=True)
    time.sleep(60)

if sys.orig_argv[-1] == "importing":
    tell()
command_line.run(tell)
"""


def interrupted(where: str) -> subprocess.CompletedProcess[str]:
    """The program, after Ctrl-C while it imports, or at work."""
    command = [sys.executable, "-c", PROGRAM, where]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, stderr=said)


def test_ctrl_c_during_imports_ends_a_program_without_a_word() -> None:
    result = interrupted("importing")
    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")


def test_ctrl_c_at_work_says_that_finished_answers_are_kept() -> None:
    result = interrupted("at work")
    assert result.returncode == 130
    assert result.stderr == "interrupted; finished answers are kept, run again to go on\n"


@pytest.mark.parametrize("name", ["-m", "/home/user/.venv/bin/relaygen"])
def test_it_holds_for_stages_and_for_relaygen(name: str) -> None:
    code = f"import sys; sys.argv = [{name!r}]; "
    code += "import signal, stages; print(signal.getsignal(signal.SIGINT) is stages.end)"
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown == "True\n"


def test_a_program_that_only_imports_the_package_keeps_its_own_ctrl_c() -> None:
    code = "import signal, stages; print(signal.getsignal(signal.SIGINT).__name__)"
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown == "default_int_handler\n"
