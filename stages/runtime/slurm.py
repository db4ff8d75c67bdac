"""Check that Slurm would accept all jobs, before the first of them is submitted."""

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_slurm.partitions import Partition, read_partition_file

from stages.runtime.errors import UserError

PROFILE = "workflow/profiles/slurm/config.yaml"
PATIENCE_S = 60
# Slurm also says so while all suitable nodes are down or drained; the job would wait for them.
NODES_AWAY = "Requested node configuration is not available"
LIMITED = ("gpu", "runtime", "mem_mb", "cpus_per_task")
Job = Any  # Snakemake's


@dataclass(frozen=True)
class Request:
    """What jobs of the rule `name` ask for and Slurm may refuse; `runtime`: minutes."""

    name: str
    partition: str | None
    account: str | None
    runtime: int | None
    gpus: int

    @property
    def options(self) -> list[str]:
        """Return the options of sbatch."""
        asked = {
            "partition": self.partition,
            "account": self.account,
            "time": self.runtime,
            "gpus": self.gpus,
        }
        return [f"--{name}={value}" for name, value in asked.items() if value]


def check(jobs: Iterable[Job], table: Path | None) -> None:
    """Raise UserError if Slurm does not answer, or would refuse any of `jobs`.

    `table`: the file of partitions that Snakemake's plugin chooses from.
    """
    answer = ask("scontrol", "ping")
    if answer.returncode:
        raise UserError(f"Slurm does not answer: {one_line(answer)}")
    have = ask("sinfo", "--noheader", "--format=%R").stdout.split()
    partitions = read_partition_file(table) if table else []
    requests = {request_of(job, partitions) for job in jobs if not job.is_local}
    for request in sorted(requests, key=lambda one: one.name):
        if request.partition and request.partition not in have:
            raise UserError(
                f"{PROFILE}: unknown partition '{request.partition}', this cluster has: "
                + ", ".join(have)
            )
        answer = ask("sbatch", "--test-only", *request.options, "--wrap=true")
        if answer.returncode and NODES_AWAY not in answer.stderr:
            raise UserError(
                f"{PROFILE}: Slurm refuses the jobs of rule {request.name} "
                f"({' '.join(request.options)}): {one_line(answer)}"
            )


def request_of(job: Job, partitions: Sequence[Partition]) -> Request:
    """Return what Snakemake's plugin will ask of Slurm for a job."""
    given = job.resources
    partition = given.get("slurm_partition")
    if not partition and partitions:
        partition = best(job, partitions)
    return Request(
        name=job.rule.name,
        partition=partition,
        account=given.get("slurm_account"),
        runtime=given.get("runtime"),
        gpus=given.get("gpu", 0),
    )


def best(job: Job, partitions: Sequence[Partition]) -> str:
    """Return the partition that the plugin will choose; UserError if none has room for the job."""
    scores = {partition.name: partition.score_job_fit(job) for partition in partitions}
    fits = {name: score for name, score in scores.items() if score is not None}
    if not fits:
        asked = ", ".join(f"{name} {job.resources.get(name)}" for name in LIMITED)
        raise UserError(
            f"{PROFILE}: no partition has room for a job of rule {job.rule.name} ({asked})"
        )
    return str(max(fits, key=fits.__getitem__))


def ask(*command: str) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's commands; UserError if it is not installed or does not return."""
    try:
        return subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise UserError(
            f"no {command[0]} here: use the Slurm profile where a cluster takes jobs, "
            "`snakemake --cores all` elsewhere"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"Slurm does not answer: {command[0]} took {PATIENCE_S} s") from error


def one_line(answer: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of a failed command's output, without the command's name."""
    said = (answer.stdout + answer.stderr).strip().splitlines() or ["no reason given"]
    return re.sub(r"^(sbatch: error: |allocation failure: |scontrol: error: )+", "", said[-1])
