"""Ask engines for answers: many in flight, each kept as soon as it is finished.

Engines are started only if an answer is missing.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import chain
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
from stages.generation.store import Store
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


def ask(
    job: Job,
    method: Method,
    cues: Sequence[str],
    todo: Sequence[Task],
    logs: Path,
    part: str = "1of1",
) -> None:
    """Have every answer of `todo` in the store; `logs`: of the engines, `part`: this job's share.

    Raises UserError if some failed: those that were finished stay in the store.
    """
    scratch.sweep()  # a killed run may have left engines' files, though no answer is missing
    label = f"{job.target}"
    with answers_store(job.settings, method, cues, job.target.checkpoint(part)) as store:
        missing = unanswered(todo, store)
        if not missing:
            return
        wanted = engines_of(job, [method], job.infer.concurrency)
        with running(job, wanted, store, logs) as engines:
            asking = answering(job.settings, method, cues)
            collect(asking, missing, store, engines, job.settings.sampling, job.infer, label)


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
    asking: Answering,
    missing: Sequence[Task],
    store: Store,
    engines: Engines,
    sampling: Sampling,
    infer: Infer,
    label: str,
) -> None:
    """Ask for all of `missing`, some at a time, and keep each answer once it is finished."""

    failures = Failures(label, "answers")

    async def ask_all() -> None:
        limit = asyncio.Semaphore(infer.concurrency)
        async with connected(engines, sampling, infer) as clients:
            for first in missing[:1]:
                await check_probabilities(asking.method, clients, first)

            async def one(task: Task) -> None:
                async with limit:
                    try:
                        row = await asking.answer(task, clients)
                    except RequestFailedError as error:
                        failures.add(str(task), error, progress.done)
                        return
                    store.append(task.key, row)
                    progress.step(len(row["token_ids"]))

            await asyncio.gather(*map(one, missing))

    with Progress(label, len(missing)) as progress:
        uvloop.run(ask_all())
    failures.check(len(missing))


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
