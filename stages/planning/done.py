"""What of a job is there already: its output, and finished answers that wait for it."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stages.planning.jobs import Job
from stages.planning.pair import PlannedPair
from stages.tracking.provenance import SHARDS

RESULTS = Path("results")


@dataclass(frozen=True)
class Done:
    """Whether a job's output is there, and how many answers are kept for it otherwise."""

    finished: bool
    kept: int


def done(pair: PlannedPair, job: Job, benchmark: str) -> Done:
    """Return what of a job's answers to a benchmark is there."""
    waiting = sum(kept(pair.name, name) for name in checkpoints(pair, job, benchmark))
    return Done(
        finished=output(pair, job, benchmark).is_file(),
        kept=in_parts(pair.name, job, benchmark) + waiting,
    )


def output(pair: PlannedPair, job: Job, benchmark: str) -> Path:
    """Return the file that a job's answers end in."""
    match job.stage:
        case "traces" | "margins" | "latency":
            return RESULTS / pair.name / f"{job.stage}.parquet"
        case "answer_stage":
            return RESULTS / "summaries" / pair.name / "answer_stage.csv"
    return RESULTS / pair.name / "generations" / job.method / f"{benchmark}.parquet"


def checkpoints(pair: PlannedPair, job: Job, benchmark: str) -> list[str]:
    """Return the names of the files in which a job's answers wait."""
    match job.stage:
        case "traces" | "latency":
            return [job.stage]
        case "margins":
            return []
        case "answer_stage":
            return [f"answer_stage-{name}" for name in pair.settings.benchmarks]
    shards = [f"{shard + 1}of{job.shards}" for shard in range(job.shards)]
    return [f"{job.method}-{benchmark}-{shard}" for shard in shards]


def in_parts(name: str, job: Job, benchmark: str) -> int:
    """Return the answers in finished shards of a job that others are not finished with."""
    files = (RESULTS / name / "parts" / job.method).glob(f"*/{benchmark}.parquet")
    return sum(len(pl.read_parquet(file, columns=["problem_id"])) for file in files)


def kept(name: str, checkpoint: str) -> int:
    """Return the finished answers in the newest checkpoint of that name."""
    files = SHARDS.glob(f"{name}/{checkpoint}-{'[0-9a-f]' * 16}.jsonl")
    newest = max(files, key=lambda file: file.stat().st_mtime, default=None)
    return newest.read_bytes().count(b"\n") if newest else 0
