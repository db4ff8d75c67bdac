"""Answers under load: how many a minute, and how long each takes, by the number in flight.

Each contender answers the same problems with some answers in flight: as soon as one is finished,
the next is begun. All of its answers count, also the last ones, beside which fewer are in flight.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from stages.config.contenders import Contender, repeats
from stages.config.schema import Sampling
from stages.engine.client import Client
from stages.engine.gpus import n_cards
from stages.engine.spec import EngineSpec
from stages.generation.answering import Answering, Task, tasks
from stages.generation.latency import others_cpu_s, warm_up
from stages.generation.store import Key, Store
from stages.methods.base import Method
from stages.runtime.progress import Progress
from stages.serving.streaming import StreamingClient
from stages.tracking.files import Row

Clients = Mapping[str, Client]
SCHEMA = pl.Schema(
    {
        "method": pl.String(),
        "replicas": pl.Int64(),
        "in_flight": pl.Int64(),
        "problem_id": pl.Int64(),
        "repeat": pl.Int64(),
        "begun_s": pl.Float64(),
        "wall_s": pl.Float64(),
        "first_token_s": pl.Float64(),
        "large_tokens": pl.Int64(),
        "small_tokens": pl.Int64(),
        "level_s": pl.Float64(),
        "other_load": pl.Float64(),
        "engines": pl.Int64(),
        "gpus": pl.Int64(),
        "cores": pl.Int64(),
    }
)


@dataclass(frozen=True)
class Level:
    """What is measured at once: a contender's answers with `in_flight` at a time."""

    contender: Contender
    in_flight: int
    tasks: list[Task]

    @property
    def key(self) -> Key:
        """What it is kept by, under the recipe of the measurement."""
        return self.contender.method, str(self.contender.replicas), str(self.in_flight)

    def __str__(self) -> str:
        return f"{self.contender}, {self.in_flight} in flight"


def levels(
    found: Iterable[Contender],
    methods: Mapping[str, Method],
    problems: pl.DataFrame,
    in_flight: Sequence[int],
) -> list[Level]:
    """Return every contender's levels: each problem equally often."""
    return [
        Level(one, n, tasks(problems, repeats(n, len(problems)), column_of(methods, one)))
        for one in found
        for n in in_flight
    ]


def column_of(methods: Mapping[str, Method], contender: Contender) -> str:
    """Return the column of a problem set with the prompts that a contender uses."""
    return methods[contender.method].prompt_column


def hardware(wanted: Sequence[EngineSpec]) -> Row:
    """Return how many engines there are, and the GPUs or else the CPU cores that they hold.

    On a CPU, an engine computes with engines.cpu_threads cores. Engines may share a GPU.
    """
    cards = n_cards(wanted)
    cores = 0 if cards else sum(spec.cpu_threads for spec in wanted)
    return {"engines": len(wanted), "gpus": cards, "cores": cores}


async def measure(
    asking: Mapping[str, Answering],
    missing: Sequence[Level],
    store: Store,
    clients: Clients,
    sampling: Sampling,
    held: Row,
) -> None:
    """Measure levels one after the other, and keep each in the store once it is finished.

    `held`: the hardware of these engines, kept with each level. Raises RequestFailedError if an
    answer failed: without it, a level is not what it says.
    """
    await warm_up(clients, missing[0].tasks[0].prompt_ids)
    for level in missing:
        with Progress(f"throughput: {level}", len(level.tasks)) as progress:
            # Other seeds than at other levels, whose prompts are in the prefix cache.
            one = asking[level.contender.method]
            own = replace(one, seed=one.seed + level.in_flight)
            row = await measured(own, level, clients, sampling, progress)
            store.append(level.key, {**row, **held})


async def measured(
    asking: Answering, level: Level, clients: Clients, sampling: Sampling, progress: Progress
) -> Row:
    """Return a level: its answers, its seconds, and the CPU cores that others used meanwhile."""
    waiting, rows = iter(level.tasks), list[Row]()
    others, begun = others_cpu_s(), time.monotonic()

    async def work(replica: int) -> None:
        names = level.contender.clients_of(replica).items()
        own = {role: clients[name] for role, name in names}
        for task in waiting:
            at = time.monotonic() - begun
            row = await answer(asking, task, own, sampling)
            rows.append({"problem_id": task.problem, "repeat": task.repeat, "begun_s": at, **row})
            progress.step(row["large_tokens"] + row["small_tokens"])

    await asyncio.gather(*(work(i % level.contender.replicas) for i in range(level.in_flight)))
    seconds = time.monotonic() - begun
    load = max(0.0, others_cpu_s() - others) / seconds
    return {"answers": rows, "level_s": seconds, "other_load": load}


async def answer(asking: Answering, task: Task, clients: Clients, sampling: Sampling) -> Row:
    """Return what is kept of one answer; it is streamed, so that its first token has a time."""
    begun, heard = time.monotonic(), list[float]()

    def hear(n_tokens: int, _: str) -> None:
        if n_tokens and not heard:
            heard.append(time.monotonic() - begun)

    streaming = {role: StreamingClient(client, sampling, hear) for role, client in clients.items()}
    row = await asking.answer(task, streaming)
    kept = {name: row[name] for name in ("wall_s", "large_tokens", "small_tokens")}
    return {**kept, "first_token_s": heard[0] if heard else None}


def rows(measured_levels: Iterable[Level], store: Store) -> Iterator[Row]:
    """Yield the answers of levels in the store."""
    for level in measured_levels:
        kept = store.row(level.key)
        answers = kept.pop("answers")
        of_level = {
            "method": level.contender.method,
            "replicas": level.contender.replicas,
            "in_flight": level.in_flight,
            **kept,
        }
        yield from (of_level | one for one in answers)
