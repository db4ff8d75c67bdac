"""A job ends with whoever started it, however that ends.

Snakemake and DVC, killed, would leave their jobs and engines running, and the same command again
would run beside them. Each process of a run therefore watches those above it.
"""

import os
import signal
import socket
import threading
import time

import psutil

VARIABLE = "RELAYGEN_OWNERS"  # host and processes: HOST PID@START PID@START
LOOK_EVERY_S = 0.5
# In a job of Slurm or in a container the processes above are not to be seen, or not its owners.
ELSEWHERE = ("SLURM_JOB_ID", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")


def name(process: psutil.Process) -> str:
    """Return what tells a process from a later one with its number."""
    return f"{process.pid}@{process.create_time():.2f}"


def own() -> None:
    """Make this process, and a DVC that started it, the owners of the jobs that it starts.

    Ends this process with DVC.
    """
    this = psutil.Process()
    above = [name(process) for process in this.parents() if is_dvc(process)]
    os.environ[VARIABLE] = " ".join([socket.gethostname(), name(this), *above])
    if above:
        watch(above, signal.SIGINT)


def is_dvc(process: psutil.Process) -> bool:
    """Return whether a process is a `dvc` command."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return any(os.path.basename(word) == "dvc" for word in words[:3])  # noqa: PTH119 - no path


def obey() -> None:
    """Have SIGTERM end this process once one of its owners is gone; without owners, do nothing."""
    host, *processes = os.environ.get(VARIABLE, "").split() or [""]
    if host == socket.gethostname() and not any(one in os.environ for one in ELSEWHERE):
        watch(processes, signal.SIGTERM)


def watch(processes: list[str], sign: signal.Signals) -> None:
    """Send this process `sign` once one of `processes` is gone."""

    def look() -> None:
        while all(map(alive, processes)):
            time.sleep(LOOK_EVERY_S)
        os.kill(os.getpid(), sign)

    threading.Thread(target=look, daemon=True).start()


def alive(process: str) -> bool:
    """Return whether a process of that name is there, and not only waiting to be reaped."""
    pid, _ = process.split("@")
    try:
        found = psutil.Process(int(pid))
        return name(found) == process and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
