"""Check that this machine has the GPUs of all jobs, before the first of them starts."""

from collections.abc import Iterable
from typing import Any

from stages.config import contenders
from stages.config.schema import Params
from stages.engine import compiler, gpus
from stages.engine.spec import EngineSpec, replicated, specs
from stages.tracking.resolving import roles_of
from stages.tracking.targets import STAGES, Target

Job = Any  # Snakemake's


def check(params: Params, jobs: Iterable[Job], contained: bool) -> None:
    """Raise UserError for GPUs, a driver or a compiler that `jobs` lack here.

    `contained`: they run in containers, which have a compiler of their own.
    """
    wanted = [found for job in jobs if (found := engines_of(params, job)) and found[0].served.gpus]
    if not wanted:
        return
    count = len(gpus.visible_gpus())
    for one in wanted:
        gpus.check_count(one, count)
    if not contained:
        compiler.check()


def engines_of(params: Params, job: Job) -> list[EngineSpec]:
    """Return the engines that a job starts."""
    stage, known = job.rule.name, dict(job.wildcards.items())
    if stage not in STAGES or "engines" not in STAGES[stage].settings:
        return []
    pair = params.pair(known["pair"])
    if stage == "throughput":  # starts the engines of one contender after those of another
        one = contenders.largest(params, known["pair"])
        return replicated(specs(pair, params.engines, one.roles, concurrency=1), one.replicas)
    roles = roles_of(params, Target(stage, known["pair"], known.get("method")))
    return specs(pair, params.engines, tuple(roles), concurrency=1)
