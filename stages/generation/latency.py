"""How long answers take: one request at a time, all methods on the same engines (paper Table 3).

Every problem is asked `runs` times. Methods take turns problem by problem, each run in another
order, so that a slow minute hits all alike. A short request per engine comes first and is not
counted. What other work used of the machine meanwhile is recorded with every answer.
"""

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import polars as pl
import psutil

from stages.engine.client import Client, RequestFailedError
from stages.generation import answers
from stages.generation.answering import Answering, Task
from stages.generation.failures import Failures
from stages.generation.store import Key, Store
from stages.methods.base import Method, Request
from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.runtime.progress import Progress
from stages.tracking.files import Row
from stages.tracking.frames import read_parquet

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Clients = Mapping[str, Client]
WARM_UP_TOKENS = 8
IDLE = 0.1  # of all cores: a machine whose other work uses no more counts as idle
SCHEMA = pl.Schema(
    {
        "method": pl.String(),
        **answers.SCHEMA,
        "drafts": pl.Int64(),
        "accepted": pl.Int64(),
        "draft_at": pl.List(pl.Int32()),
        "draft_accepted": pl.List(pl.Int32()),
        "other_load": pl.Float64(),
    }
)


def turns(
    methods: Sequence[str], problems: Sequence[Item], runs: int
) -> Iterator[tuple[int, Item, str]]:
    """(run, problem, method) in the order of asking: the first method is another each time."""
    for turn, (run, problem) in enumerate(itertools.product(range(runs), problems)):
        first = turn % len(methods)
        for method in [*methods[first:], *methods[:first]]:
            yield run, problem, method


@dataclass(frozen=True)
class Turn:
    """One answer to time: a method's to a problem, in one run (`task.repeat`)."""

    method: str
    task: Task

    @property
    def key(self) -> Key:
        """What its time is kept by, under the recipe of the measurement."""
        return self.method, *self.task.key

    def __str__(self) -> str:
        return f"{self.method}, problem {self.task.problem}, run {self.task.repeat}"


def order(methods: Mapping[str, Method], problems: pl.DataFrame, runs: int) -> list[Turn]:
    """Return all turns in the order of asking."""
    rows = list(problems.iter_rows(named=True))
    return [
        Turn(name, Task(row[methods[name].prompt_column], run, problem=row["problem_id"]))
        for run, row, name in turns(list(methods), rows, runs)
    ]


async def measure(
    asking: Mapping[str, Answering], missing: Sequence[Turn], store: Store, clients: Clients
) -> None:
    """Time the turns one after the other, and keep each in the store once it is finished.

    Raises UserError at the end if some failed.
    """
    try:
        await warm_up(clients, missing[0].task.prompt_ids)
    except RequestFailedError as error:
        raise UserError(f"latency: the first request failed: {error}; run again") from error
    failures = Failures("latency", "answers")
    with Progress("latency", len(missing)) as progress:
        for turn in missing:
            try:
                row = await timed(asking[turn.method], turn.task, clients)
            except RequestFailedError as error:
                failures.add(str(turn), error, progress.done)
                continue
            store.append(turn.key, row)
            progress.step(len(row["token_ids"]))
    failures.check(len(missing))


def rows(turns: Sequence[Turn], store: Store) -> list[Row]:
    """Return what was measured, in the order of asking."""
    return [
        {
            "method": turn.method,
            "problem_id": turn.task.problem,
            "repeat": turn.task.repeat,
            **store.row(turn.key),
        }
        for turn in turns
    ]


async def timed(asking: Answering, task: Task, clients: Clients) -> Row:
    """Return one answer, with what its engines drafted, and others used, meanwhile."""
    used = [clients[role] for role in asking.method.roles]
    drafted = [await client.speculation() for client in used]
    others = others_cpu_s()
    row = await asking.answer(task, clients)
    others = others_cpu_s() - others
    after = [await client.speculation() for client in used]
    drafts, accepted = (
        sum(b[i] - a[i] for a, b in zip(drafted, after, strict=True)) for i in range(2)
    )
    load = max(0.0, others / row["wall_s"])
    return {**row, "drafts": drafts, "accepted": accepted, "other_load": load}


def others_cpu_s() -> float:
    """CPU seconds so far of all that is not this process and its engines; a host's steal too."""
    total = psutil.cpu_times()
    busy = total.user + total.nice + total.system + total.irq + total.softirq + total.steal
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return float(busy - sum(time.user + time.system for time in times))


async def warm_up(clients: Clients, prompt_ids: list[int]) -> None:
    """Send a short request to each engine: its first one is slower than all others."""
    for role, client in clients.items():
        await client.complete(Request(role, prompt_ids, WARM_UP_TOKENS), seed=0, salt="warm-up")


def first_problems(file: Path, n: int) -> pl.DataFrame:
    """The first `n` of a problem set, as the paper took problems 1-5 of AIME 2025-I."""
    problems = read_parquet(file)
    if len(problems) < n:
        raise UserError(
            f"latency.n_problems is {n}, but {file.stem} has {len(problems)} problems: "
            "raise its n_problems, or lower latency.n_problems"
        )
    return problems.head(n)


def note_load(rows: Sequence[Row]) -> None:
    """Say so where the machine had other work: ratios hold better than seconds then."""
    load, cores = fmean(row["other_load"] for row in rows), psutil.cpu_count() or 1
    log.info("other work used %.2f of %d cores on average", load, cores)
    if load > IDLE * cores:
        command_line.warn(
            f"latency: other work used {load:.1f} of {cores} cores meanwhile: on an idle machine "
            "the speedups are less noisy, and may be others"
        )
