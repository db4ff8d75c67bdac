"""What ran, where and since when: noted with every result."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psutil

from stages.tracking import digests
from stages.tracking.files import Row

CPUINFO = Path("/proc/cpuinfo")
COMMIT = "RELAYGEN_COMMIT"  # set inside containers, which have no git


def here_and_now() -> Row:
    """What ran, where and since when."""
    return {
        "git_commit": git_commit(),
        "container": container(),
        "hardware": hardware(),
        "machine": f"{platform.machine()}, {platform.platform()}",
        "python": platform.python_version(),
        "started": datetime.fromtimestamp(process_start(), UTC).isoformat(timespec="seconds"),
    }


def hardware() -> Row:
    """Return the processor, its cores, and the GPUs."""
    return {"cpu": cpu(), "cores": os.cpu_count(), "gpus": gpus()}


def process_start() -> float:
    """When this process began, in seconds since 1970."""
    return psutil.Process().create_time()


def git_commit() -> str:
    """The checkout's commit, with a mark if tracked files differ from it; or why it is unknown."""
    if told := os.environ.get(COMMIT):
        return told
    asked = ("git", "rev-parse", "HEAD")
    if not (commit := output(*asked)):
        return f"unknown ({refusal(*asked)})"
    # DVC notes every finished stage in dvc.lock: that is no change of what runs.
    changed = output("git", "diff", "--name-only", "HEAD", "--", ":!dvc.lock")
    return commit + "-dirty" if changed else commit


def refusal(*command: str) -> str:
    """Why a command prints nothing, in its own words."""
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    said = done.stderr.strip().splitlines() or ["it gives no reason"]
    return said[0].removeprefix("fatal: ")


def container() -> str:
    """The digest of the container's image, or its name where the image cannot be read."""
    name = os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER")
    if not name:
        return "none"
    image = Path(name)
    # Noted by `make containers`, for a stage should not begin with reading a gigabyte.
    note = image.with_name(f"{image.name}.sha256")
    try:
        if note.exists() and note.stat().st_mtime >= image.stat().st_mtime:
            return f"sha256:{note.read_text(encoding='utf-8').split()[0]}"
        return f"sha256:{digests.sha256(image)}"
    except OSError:
        return image.name


def cpu() -> str:
    """The processor's name."""
    names = re.search(r"^model name\s*: (.+)$", CPUINFO.read_text(encoding="utf-8"), re.MULTILINE)
    return names[1] if names else platform.machine()


def gpus() -> list[str]:
    """The names of the GPUs, if there are any."""
    return output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()


@cache
def output(*command: str) -> str:
    """What a command prints, asked once; nothing if it fails or is not there."""
    try:
        result = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError:
        return ""
    return "" if result.returncode else result.stdout.strip()
