"""Ask engines for answers: many in flight, each kept as soon as it is finished.

Engines are started only if an answer is missing.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path

import uvloop

from stages.config.schema import Infer, Sampling
from stages.config.settings import Settings
from stages.engine import models, scratch, server
from stages.engine.client import Client, RequestFailedError
from stages.engine.server import Engine
from stages.engine.spec import EngineSpec, specs
from stages.engine.watch import watched
from stages.generation.answering import Answering, Task
from stages.generation.failures import Failures
from stages.generation.store import Key, Store
from stages.methods.base import Method, Request
from stages.runtime.errors import UserError
from stages.runtime.progress import Progress
from stages.tracking import provenance, recipes
from stages.tracking.recipes import Job

Engines = Mapping[str, Engine]


def answering(settings: Settings, method: Method, cues: Sequence[str]) -> Answering:
    """Return a method with what shapes its answers."""
    tokenizer = models.tokenizer(settings.tokenizer)
    return Answering(settings.seed, settings.budget, method, tuple(cues), tokenizer, settings.marks)


def answers_store(
    settings: Settings, method: Method, cues: Sequence[str], checkpoint: str = "1of1"
) -> Store:
    """Return where a method's answers are kept; `checkpoint`: what a job that asks appends to."""
    recipe = recipes.answers_recipe(settings, method, list(cues))
    return Store.under("answers", recipe, checkpoint)


@dataclass(frozen=True)
class Wanted:
    """Answers that a method is to have in the store. `part`: of several jobs that share them."""

    job: Job
    method: Method
    cues: Sequence[str]
    todo: Sequence[Task]
    part: str = "1of1"


@dataclass(frozen=True)
class Asked:
    """What is asked for by one method, and where it is kept. `name`: the method's, for messages."""

    asking: Answering
    missing: Sequence[Task]
    store: Store
    name: str = ""


def ask(wanted: Sequence[Wanted], logs: Path, label: str) -> None:
    """Have all answers of a pair's methods in the store; methods take turns on shared engines.

    `logs`: of the engines. Raises UserError if some failed: those that were finished stay in the
    store.
    """
    scratch.sweep()  # a killed run may have left engines' files, though no answer is missing
    with ExitStack() as stack:
        every = once([asked_of(one, stack) for one in wanted])
        if not (asked := [one for one in every if one.missing]):
            return
        job = with_all_engines([one.job for one in wanted])
        started = engines_of(job, [one.asking.method for one in asked], job.infer.concurrency)
        engines = stack.enter_context(server.running(started, job.engines, logs))
        for one in asked:
            own = [spec for spec in started if spec.role in one.asking.method.roles]
            one.store.begin_session(provenance.session(own))
        collect(asked, engines, job.settings.sampling, job.infer, label)


def asked_of(wanted: Wanted, stack: ExitStack) -> Asked:
    """Return what the store lacks of the wanted answers; `stack` closes the store."""
    job, method, cues = wanted.job, wanted.method, wanted.cues
    kept = answers_store(job.settings, method, cues, job.target.checkpoint(wanted.part))
    store = stack.enter_context(kept)
    by, missing = answering(job.settings, method, cues), unanswered(wanted.todo, store)
    return Asked(by, missing, store, job.target.name or "")


def once(every: Sequence[Asked]) -> list[Asked]:
    """Return what is asked for, no answer twice: methods may be alike."""
    seen = set[tuple[Path, Key]]()
    found = []
    for one in every:
        new = [task for task in one.missing if (one.store.folder, task.key) not in seen]
        seen |= {(one.store.folder, task.key) for task in new}
        found.append(replace(one, missing=new))
    return found


def with_all_engines(jobs: Sequence[Job]) -> Job:
    """Return the first of a pair's jobs with the engines of all of them."""
    first, *_ = jobs
    engines = {role: model for job in jobs for role, model in job.settings.engines.items()}
    return replace(first, settings=first.settings.model_copy(update={"engines": engines}))


def engines_of(job: Job, methods: Collection[Method], concurrency: int) -> list[EngineSpec]:
    """Return the engines that methods ask, with the methods' routers."""
    roles = tuple(chain.from_iterable(one.roles for one in methods))
    routers = [router for one in methods for router in one.routers.items()]
    return specs(job.settings, job.engines, roles, concurrency, routers=routers)


@contextmanager
def running(job: Job, wanted: Sequence[EngineSpec], store: Store, logs: Path) -> Iterator[Engines]:
    """Start engines, and note in the store what runs from here on."""
    with server.running(list(wanted), job.engines, logs) as engines:
        store.begin_session(provenance.session(wanted))
        yield engines


def unanswered(todo: Sequence[Task], store: Store) -> list[Task]:
    """Return the tasks that the store does not hold, each once."""
    return list({task.key: task for task in todo if task.key not in store}.values())


def share(todo: Sequence[Task], part: int, parts: int) -> list[Task]:
    """Return one job's share of the tasks; a prompt that stands in them twice is one task."""
    return list({task.key: task for task in todo}.values())[part::parts]


def collect(
    asked: Sequence[Asked], engines: Engines, sampling: Sampling, infer: Infer, label: str
) -> None:
    """Ask for all that is missing, some at a time, and keep each answer once it is finished."""

    failures = Failures(label, "answers")

    async def ask_all() -> None:
        limit = asyncio.Semaphore(infer.concurrency)
        async with connected(engines, sampling, infer) as clients:
            for each in asked:
                for first in each.missing[:1]:
                    await check_probabilities(each.asking.method, clients, first)

            async def one(by: Asked, task: Task) -> None:
                async with limit:
                    try:
                        row = await by.asking.answer(task, clients)
                    except RequestFailedError as error:
                        who = f"{by.name}, " if len(asked) > 1 else ""
                        failures.add(f"{who}{task}", error, progress.done)
                        return
                    by.store.append(task.key, row)
                    progress.step(len(row["token_ids"]))

            await asyncio.gather(*(one(by, task) for by, task in in_turns(asked)))

    with Progress(label, total := sum(len(one.missing) for one in asked)) as progress:
        uvloop.run(ask_all())
    failures.check(total)


def in_turns(asked: Sequence[Asked]) -> list[tuple[Asked, Task]]:
    """Return all tasks, one of each method in turn: so all engines have work, until the end."""
    of_each = ([(one, task) for task in one.missing] for one in asked)
    return [entry for turn in zip_longest(*of_each) for entry in turn if entry]


async def check_probabilities(method: Method, clients: Mapping[str, Client], task: Task) -> None:
    """Raise UserError if an engine returns no probabilities, by which the method goes."""
    if not method.probabilities:
        return
    role = method.roles[-1]
    probe = Request(role, task.prompt_ids, 1, tentative=True, logprobs=method.probabilities)
    try:
        await clients[role].complete(probe, seed=0, salt="probe")
    except RequestFailedError as error:
        raise UserError(f"the method goes by the small model's probabilities: {error}") from error


@asynccontextmanager
async def connected(
    engines: Engines, sampling: Sampling | None, infer: Infer
) -> AsyncIterator[Mapping[str, Client]]:
    """Open a client for each engine, and watch the engines.

    `sampling`: None where nothing is written. Raises UserError once an engine serves no more.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(watched(engines.values()))
        yield {
            role: await stack.enter_async_context(Client(engine, sampling, infer))
            for role, engine in engines.items()
        }
