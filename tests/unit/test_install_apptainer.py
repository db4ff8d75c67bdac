"""The script that installs Apptainer for the tests, with an apt that installs nothing."""

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

BUSY = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"


def install(folder: Path, apt_get: str) -> subprocess.CompletedProcess[str]:
    """Run the script where the packages are missing and Apptainer is there; calls: a file."""
    programs = {"apt-get": apt_get, "dpkg-query": "exit 1", "apptainer": "echo apptainer 1"}
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return subprocess.run(
        ["tests/install_apptainer.sh"],
        env={"PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(folder / "calls")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_waits_for_another_apt(tmp_path: Path) -> None:
    once_busy = f'test -e "$CALLS" || {{ touch "$CALLS"; echo "{BUSY}" >&2; exit 100; }}'
    result = install(tmp_path, once_busy)
    assert (result.returncode, result.stderr) == (0, "")


def test_any_other_failure_of_apt_ends_it_at_once(tmp_path: Path) -> None:
    result = install(tmp_path, 'echo call >> "$CALLS"; echo "E: no network" >&2; exit 100')
    assert result.returncode != 0
    assert result.stderr == "E: no network\n"
    assert (tmp_path / "calls").read_text() == "call\n"
