"""The jobs of a pair: which engines are started, for what, and on which GPUs."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

from stages.config.contenders import contenders, together
from stages.config.selection import infer_of, methods_of, variants_of
from stages.config.sharing import groups
from stages.engine import gpus, server
from stages.engine.spec import EngineSpec, replicated, specs
from stages.planning.pair import PlannedPair

ANY_PORT = 8000  # the first one printed where params.yaml leaves the ports open
ANSWERING = ("infer", "ablation")  # jobs whose methods share engines


@dataclass(frozen=True)
class Job:
    """What is asked of some engines. `shards`: jobs like this, each for a share of problems.

    `replicas`: engines of each role. `method`: one, or several that share the engines.
    """

    stage: str
    method: str
    roles: tuple[str, ...]
    concurrency: int
    shards: int = 1
    prefix_caching: bool = True
    replicas: int = 1


def jobs(pair: PlannedPair) -> list[Job]:
    """Return what engines are started for, in the pipeline's order."""
    n, shards = infer_of(pair.params, pair.name).concurrency, pair.params.infer.shards
    methods, variants = methods_of(pair.params, pair.name), variants_of(pair.params, pair.name)
    every = tuple(dict.fromkeys(chain.from_iterable(m.roles for m in methods.values())))
    return [
        *([] if pair.settings.recorded else [Job("traces", "large", ("large",), n)]),
        Job("margins", "small", ("small",), n, prefix_caching=False),
        *(Job("infer", name, method.roles, n, shards) for name, method in methods.items()),
        *(Job("ablation", name, variant.roles, n, shards) for name, variant in variants.items()),
        Job("latency", f"all {len(methods)}", every, 1),
        *under_load(pair),
        Job("answer_stage", "small", ("small",), n),
    ]


def started(of_pair: Sequence[Job]) -> list[Job]:
    """Return jobs as engines are started for them: once for all methods that can share them."""
    asking = {job.method: job for job in of_pair if job.stage in ANSWERING}
    shared = [
        replace(asking[names[0]], stage="together", method=", ".join(names), roles=roles)
        for roles, names in groups(asking).items()
    ]
    at = next((i for i, job in enumerate(of_pair) if job.stage in ANSWERING), 0)
    others = [job for job in of_pair if job.stage not in ANSWERING]
    return [*others[:at], *shared, *others[at:]]


def under_load(pair: PlannedPair) -> Iterator[Job]:
    """Yield the starts of engines for answers under load; none for a pair that goes without."""
    about = pair.params.throughput
    if pair.name not in about.run:
        return
    methods = methods_of(pair.params, pair.name)
    for group in together(contenders(methods, pair.settings.engines)):
        names, first = ", ".join(one.method for one in group), group[0]
        most = max(about.in_flight)
        yield Job("throughput", names, first.roles, most, replicas=first.replicas)


def all_roles(pair: PlannedPair) -> list[str]:
    """Return the engines that any job starts."""
    return list(dict.fromkeys(chain.from_iterable(job.roles for job in jobs(pair))))


def engine_specs(pair: PlannedPair, job: Job) -> list[EngineSpec]:
    """Return the specs of a job's engines."""
    each = specs(pair.settings, pair.params.engines, job.roles, job.concurrency, job.prefix_caching)
    return replicated(each, job.replicas)


def n_gpus(pair: PlannedPair, job: Job) -> int:
    """Return the number of GPUs that a job's engines hold together."""
    return gpus.n_cards(engine_specs(pair, job))


def gpu_ids(pair: PlannedPair, job: Job) -> dict[str, tuple[str, ...]]:
    """Return {role: its GPUs on a node}; empty ones on a CPU."""
    return gpus.place(engine_specs(pair, job), [str(i) for i in range(pair.known.node.gpus)])


def commands(pair: PlannedPair) -> Iterator[str]:
    """Yield a comment and a command line for each engine of each job."""
    first, free = pair.params.engines.base_port, count(ANY_PORT)
    for job in started(jobs(pair)):
        ids = gpu_ids(pair, job)
        for i, spec in enumerate(engine_specs(pair, job)):
            times = f", {job.shards} times" if job.shards > 1 else ""
            yield f"# {pair.name} {job.stage} {job.method}: {spec.role}{times}"
            visible = ",".join(ids[spec.role])
            line = shlex.join(server.command(spec, first + i if first else next(free)))
            yield (f"CUDA_VISIBLE_DEVICES={visible} " if visible else "") + line
