"""The pipeline on a real Slurm, which `tests/slurm/cluster start` makes of this machine."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import psutil
import pytest

from tests.end_to_end.conftest import (
    Row,
    check_tables,
    checkout,
    few_methods,
    held,
    kept,
    path_with_driver,
    processes_in,
    run,
    started,
    until,
    wait_for_none,
)

CLUSTER = "slurm-test"
SNAKEMAKE = ("snakemake", "--profile", "slurm", "--slurm-init-seconds-before-status-checks", "3")
PROFILE = "workflow/profiles/slurm/config.yaml"


def answers() -> bool:
    """Whether the tests' own cluster answers."""
    try:
        shown = subprocess.run(
            ["scontrol", "show", "config"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return False
    return CLUSTER in shown.stdout


pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(
        not answers(), reason="no Slurm for tests here: `tests/slurm/cluster start` makes one"
    ),
]


def slurm(*command: str) -> str:
    """What one of Slurm's commands prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def jobs_in(folder: Path, *states: str) -> dict[str, str]:
    """{Slurm's id: rule and wildcards} of a checkout's jobs that are in one of `states`."""
    listed = slurm("squeue", "--noheader", "--states", ",".join(states), "--format=%i\t%Z\t%k")
    rows = [line.split("\t") for line in listed.splitlines()]
    return {job: about for job, where, about in rows if where == str(folder)}


def left_in(folder: Path) -> list[str]:
    """The jobs and processes of a checkout, once they have had the time to end."""

    def left() -> list[str]:
        jobs = jobs_in(folder, "PENDING", "RUNNING", "COMPLETING").values()
        return [*jobs, *map(str, processes_in(folder))]

    return wait_for_none(left)


@contextmanager
def submitting(
    folder: Path, *arguments: str, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Snakemake with the Slurm profile, under way."""
    try:
        with started(folder, *SNAKEMAKE, *arguments, **variables) as process:
            yield process
    finally:
        if jobs := jobs_in(folder, "PENDING", "RUNNING"):
            slurm("scancel", *jobs)


def servers_in(folder: Path, n: int) -> list[psutil.Process]:
    """The servers that a checkout's jobs have started, once there are `n`."""

    def found() -> list[psutil.Process] | None:
        servers = list(filter(is_server, processes_in(folder)))
        return servers if len(servers) == n else None

    servers: list[psutil.Process] = until(found, f"{n} servers")
    return servers


def is_server(process: psutil.Process) -> bool:
    """Whether a process is a server itself, which leads a session, and none that it started."""
    with suppress(psutil.Error, OSError):
        return os.getsid(process.pid) == process.pid and "--served-model-name" in process.cmdline()
    return False


def job_of(folder: Path, method: str) -> str:
    """Slurm's id of the job that answers by `method`."""
    about = f"rule_infer_wildcards_demo_{method}_0"
    return next(job for job, its in jobs_in(folder, "RUNNING").items() if its == about)


def end(folder: Path, method: str, state: str, *command: str) -> list[Row]:
    """End the job that answers by `method`; returns the answers that it had."""
    until(lambda: len(kept(folder, method)) == 4, f"answers of {method}", 500)
    job = job_of(folder, method)
    slurm(*(word.format(job) for word in command))
    until(lambda: state_of(job) == state, f"{state} of {method}")
    return kept(folder, method)


def state_of(job: str) -> str:
    """Slurm's last word on a job."""
    return slurm("sacct", "-nX", "--jobs", job, "--format=State%-20").split()[0]


@dataclass(frozen=True)
class Disturbed:
    """A run two of whose jobs were ended, and the answers that these had, by method."""

    folder: Path
    kept: dict[str, list[Row]]


@pytest.fixture(scope="module")
def disturbed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Disturbed:
    """The pipeline through the profile, one job over its time limit, another cancelled.

    In containers, where Apptainer is.
    """
    params = few_methods()
    if shutil.which("apptainer"):
        params["containers"] = request.getfixturevalue("images").params
    folder = checkout(tmp_path_factory.mktemp("slurm"), params)
    # These alone first: other jobs would be held as well, and leave them no node.
    answers = [f"results/demo/generations/{method}" for method in ("large", "relaygen")]
    with submitting(folder, *answers) as snakemake:
        with held(folder, 4):
            # What is begun again may begin the rest, and so makes room for the next.
            had = {
                "large": end(folder, "large", "CANCELLED", "scancel", "{}"),
                "relaygen": end(
                    folder, "relaygen", "TIMEOUT", "scontrol", "update", "EndTime=now", "JobId={}"
                ),
            }
        ended_well(snakemake, folder)
    with submitting(folder) as snakemake:
        ended_well(snakemake, folder)
    return Disturbed(folder, had)


def ended_well(snakemake: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until Snakemake has made everything."""
    assert snakemake.wait(timeout=600) == 0, (folder / "command.log").read_text()[-3000:]


@pytest.mark.parametrize("method", ["large", "relaygen"])
def test_a_job_that_was_ended_goes_on_with_the_answers_it_had(
    disturbed: Disturbed, method: str
) -> None:
    files = (disturbed.folder / f"results/demo/generations/{method}").glob("*.parquet")
    walls = {wall for file in files for wall in pl.read_parquet(file)["wall_s"]}
    assert {row["wall_s"] for row in disturbed.kept[method]} <= walls


def test_a_cluster_gives_the_tables_of_the_host(on_host: Path, disturbed: Disturbed) -> None:
    check_tables(disturbed.folder, on_host)


def test_the_log_of_a_job_that_was_ended_is_kept(disturbed: Disturbed) -> None:
    logs = disturbed.folder / "logs/slurm/rule_infer"
    assert len(list(logs.glob("demo_large_0/*.log"))) == 1
    assert len(list(logs.glob("demo_relaygen_0/*.log"))) == 1


def test_a_run_that_ended_well_leaves_nothing(disturbed: Disturbed) -> None:
    assert left_in(disturbed.folder) == []


@pytest.fixture(scope="module")
def on_gpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose engines are to have a GPU each."""
    params = few_methods()
    pair = params["pairs"]["demo"]
    pair["engines"] = {
        role: {"model": f"demo_pair/{role}", "gpus": 1} for role in ("large", "small")
    }
    params["methods"]["spec_think"] = {
        "kind": "spec_think", "large": "large", "small": "small", "cues": "none",
    }  # fmt: skip
    return checkout(tmp_path_factory.mktemp("gpus"), params)


def test_engines_share_out_the_gpus_of_an_allocation_and_ctrl_c_leaves_nothing(
    on_gpus: Path, tmp_path: Path
) -> None:
    target = "results/demo/generations/spec_think"
    path = path_with_driver(tmp_path)
    with held(on_gpus, 0), submitting(on_gpus, target, PATH=path) as snakemake:
        engines = servers_in(on_gpus, 2)
        cards = {engine.environ()["CUDA_VISIBLE_DEVICES"] for engine in engines}
        job = slurm("scontrol", "show", "job", job_of(on_gpus, "spec_think"))
        snakemake.send_signal(signal.SIGINT)
        assert snakemake.wait(timeout=120) != 0
    assert cards == {"0", "1"}
    assert "Partition=gpu" in job
    assert "gres/gpu=2" in job
    assert "NumNodes=1" in job
    assert left_in(on_gpus) == []


def test_a_run_that_failed_leaves_nothing(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    target = "results/demo/generations/large"
    with held(folder, 0), submitting(folder, "--retries", "0", target) as snakemake:
        servers_in(folder, 1)[0].kill()
        assert snakemake.wait(timeout=120) != 0
    assert "engine 'large' died" in (folder / "logs/demo/infer-large-0.log").read_text()
    assert left_in(folder) == []


def refused(folder: Path, **environment: str) -> str:
    """The last line of what Snakemake says before it gives up without a job."""
    process = run(
        folder,
        "env",
        *(f"{k}={v}" for k, v in environment.items()),
        *SNAKEMAKE,
    )
    said = process.stdout + process.stderr
    assert process.returncode != 0
    assert "has been submitted" not in said
    assert not (folder / "results/demo").exists()
    return said


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("  cpu: {", "  cpux: {", "unknown partition 'cpux', this cluster has: cpu, gpu"),
        ("account: project", "account: nobody", "Invalid account or account/partition combination"),
        ("max_runtime: 2880", "max_runtime: 300", "no partition has room for a job of rule"),
    ],
)
def test_what_the_cluster_would_refuse_is_one_line_before_any_job(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    profile = checkout(tmp_path) / PROFILE
    before = profile.read_text()
    assert old in before
    profile.write_text(before.replace(old, new))
    assert re.search(f"^{PROFILE}: .*{reason}", refused(tmp_path), re.MULTILINE)


def test_a_controller_that_does_not_answer_is_one_line_before_any_job(tmp_path: Path) -> None:
    elsewhere = tmp_path / "slurm.conf"
    changes = "SlurmctldPort=16999\nMessageTimeout=2\n"
    elsewhere.write_text(Path("/etc/slurm/slurm.conf").read_text() + changes)
    said = refused(checkout(tmp_path / "checkout"), SLURM_CONF=str(elsewhere))
    assert re.search("^Slurm does not answer: ", said, re.MULTILINE)
