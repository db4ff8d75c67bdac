"""A job ends with whoever started it, and with nobody else."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from stages.runtime import owners

pytestmark = pytest.mark.unit
JOB = "import time; from stages.runtime.command_line import run; run(lambda: time.sleep(60))"


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[bytes]]:
    """A process that owns a job."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def start(owner: subprocess.Popen[bytes], **more: str) -> subprocess.Popen[bytes]:
    host = socket.gethostname()
    named = f"{host} {owners.name(psutil.Process(owner.pid))}"
    job = subprocess.Popen(
        [sys.executable, "-c", JOB], env={**os.environ, owners.VARIABLE: named, **more}
    )
    time.sleep(1.0)
    assert job.poll() is None
    return job


def test_a_job_ends_when_its_owner_is_killed(owner: subprocess.Popen[bytes]) -> None:
    with start(owner) as job:
        owner.kill()
        assert job.wait(timeout=10) == 128 + signal.SIGTERM


def test_a_job_of_slurm_does_not_end_with_the_process_that_submitted_it(
    owner: subprocess.Popen[bytes],
) -> None:
    with start(owner, SLURM_JOB_ID="1") as job:
        owner.kill()
        time.sleep(2 * owners.LOOK_EVERY_S)
        assert job.poll() is None
        job.kill()


def test_a_process_with_the_number_of_a_dead_one_is_not_its_owner() -> None:
    this = psutil.Process()
    assert owners.alive(owners.name(this))
    assert not owners.alive(f"{this.pid}@0.00")
