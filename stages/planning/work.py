"""The lines of a plan: what each job asks of a benchmark, on which GPUs, and what is done of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.planning.done import done
from stages.planning.estimates import estimates
from stages.planning.jobs import Job, gpu_ids, jobs, n_gpus, started
from stages.planning.pair import PlannedPair


@dataclass(frozen=True)
class PlannedWork:
    """What one job asks of one benchmark, its shards one after another.

    `gpus`: {role: its GPUs}. `kept`: finished answers of an unfinished output.
    """

    stage: str
    method: str
    benchmark: str
    gpus: dict[str, tuple[str, ...]]
    answers: int
    tokens: float
    hours: float
    gpu_hours: float
    disk_bytes: float
    kept: int
    finished: bool

    @property
    def left(self) -> float:
        """Return the share that is still to be done, 0 to 1."""
        return 0.0 if self.finished else 1 - min(1.0, self.kept / max(1, self.answers))

    @property
    def status(self) -> str:
        """Return in a word what is there already."""
        return "finished" if self.finished else f"{self.kept} kept" if self.kept else "-"


def planned_work(pair: PlannedPair) -> list[PlannedWork]:
    """Return what all jobs ask; last, the time of starting engines and of the stages' own work."""
    by_job = {job: list(work_of(pair, job)) for job in jobs(pair)}
    to_start = [job for job, work in by_job.items() if any(one.left for one in work)]
    asked = [one for work in by_job.values() for one in work]
    return [*asked, starts(pair, to_start), stages_due(pair)]


def work_of(pair: PlannedPair, job: Job) -> Iterator[PlannedWork]:
    """Yield what a job asks of each benchmark."""
    asked = estimates(pair, job)
    found = done(pair, job, [estimate.benchmark for estimate in asked])
    for estimate in asked:
        yield PlannedWork(
            stage=job.stage,
            method=job.method,
            benchmark=estimate.benchmark,
            gpus=gpu_ids(pair, job),
            answers=estimate.answers,
            tokens=estimate.tokens,
            hours=estimate.hours,
            gpu_hours=estimate.hours * n_gpus(pair, job),
            disk_bytes=estimate.disk_bytes,
            kept=found[estimate.benchmark].kept,
            finished=found[estimate.benchmark].finished,
        )


def starts(pair: PlannedPair, to_start: Sequence[Job]) -> PlannedWork:
    """Return the time until engines are ready, of all unfinished jobs one after another."""
    starting = started(to_start)
    each, n = pair.family.speed.start_s / 3600, sum(job.shards for job in starting)
    gpu_hours = sum(each * n_gpus(pair, job) * job.shards for job in starting)
    return PlannedWork("engines", f"{n} starts", "", {}, 0, 0, each * n, gpu_hours, 0, 0, False)


def stages_due(pair: PlannedPair) -> PlannedWork:
    """Return the time that stages take besides engines and answers: to begin, and to compute."""
    n = len(due_of(pair))
    hours = n * pair.known.stage_s / 3600
    return PlannedWork("stages", f"{n} due", "", {}, 0, 0, hours, 0, 0, 0, False)


def due_of(pair: PlannedPair) -> list[str]:
    """Return the stages due of a pair, and of all pairs together, as dvc.yaml names them."""
    own = re.compile(rf"[^@]+(?:@{re.escape(pair.name)}(?:-.*)?)?")
    return [name for name in pair.due if own.fullmatch(name)]


def total(work: Sequence[PlannedWork]) -> PlannedWork:
    """Return the sum of all lines."""
    return PlannedWork(
        stage="total",
        method="",
        benchmark="",
        gpus={},
        answers=sum(one.answers for one in work),
        tokens=sum(one.tokens for one in work),
        hours=sum(one.hours for one in work),
        gpu_hours=sum(one.gpu_hours for one in work),
        disk_bytes=sum(one.disk_bytes for one in work),
        kept=sum(one.kept for one in work),
        finished=False,
    )
