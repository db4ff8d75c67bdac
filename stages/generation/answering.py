"""Ask engines for answers: many in flight, each kept as soon as it is finished.

Shared by the stages traces, infer and latency.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import cached_property

import polars as pl
import uvloop
from tokenizers import Tokenizer

from stages.config.schema import Pair, Params
from stages.engine import models
from stages.engine.client import Client, RequestFailedError
from stages.engine.server import Engine
from stages.methods.base import Completion, Machine, Method, Request, Setting
from stages.runtime.errors import UserError
from stages.runtime.progress import Progress
from stages.tracking.files import Row, Shard, digest


@dataclass(frozen=True)
class Task:
    """One answer to be had: repeat `repeat` of one problem.

    `spent`: how much of the budget the prompt already holds, where it goes on from a reasoning.
    """

    problem_id: int
    repeat: int
    prompt_ids: list[int]
    spent: int = 0


def tasks(problems: pl.DataFrame, repeats: int, prompt_column: str = "prompt_ids") -> list[Task]:
    """Every problem `repeats` times, in order."""
    return [
        Task(row["problem_id"], repeat, row[prompt_column])
        for row in problems.iter_rows(named=True)
        for repeat in range(repeats)
    ]


@dataclass(frozen=True)
class Answering:
    """A method on running engines. `cues`: what it hands over at."""

    params: Params
    pair: Pair
    method: Method
    cues: tuple[str, ...]
    engines: Mapping[str, Engine]

    def collect(self, todo: Sequence[Task], shard: Shard, label: str) -> list[Row]:
        """The answers to `todo`, each asked for only if `shard` does not hold it yet.

        Raises UserError if some could not be had: what was finished stays in the shard.
        """
        have = {key(row) for row in shard.rows}
        missing = [task for task in todo if (task.problem_id, task.repeat) not in have]
        with Progress(label, len(todo), done=len(todo) - len(missing)) as progress:

            def keep(row: Row) -> None:
                shard.append(row)
                progress.step(len(row["token_ids"]))

            failures = uvloop.run(self._ask(missing, keep))
        if failures:
            raise UserError(
                f"{label}: {len(failures)} of {len(todo)} answers could not be had, first: "
                f"{failures[0]}; run again to ask for these alone"
            )
        wanted = {(task.problem_id, task.repeat) for task in todo}
        return [row for row in shard.rows if key(row) in wanted]

    async def _ask(self, missing: Sequence[Task], keep: Callable[[Row], None]) -> list[str]:
        """Ask for all of `missing`, some at a time; returns what went wrong."""
        limit = asyncio.Semaphore(self.params.infer.concurrency)
        async with connected(self.engines, self.pair, self.params) as clients:

            async def one(task: Task) -> str | None:
                async with limit:
                    try:
                        keep(await self.answer(task, clients))
                    except RequestFailedError as error:
                        return f"problem {task.problem_id}, repeat {task.repeat}: {error}"
                    return None

            outcomes = await asyncio.gather(*map(one, missing))
        return [failure for failure in outcomes if failure]

    async def answer(self, task: Task, clients: Mapping[str, Client]) -> Row:
        """One answer from its first token to its last, as a line of the shard."""
        machine = self.method.start(self._setting(task))
        seed = digest(self.params.seed, task.problem_id, task.repeat)
        salt = digest(seed, self.method.model_dump(), self.cues)
        started = time.monotonic()
        n = prompt_tokens = cached_tokens = 0
        while request := machine.next_request():
            asked = time.monotonic()
            request_seed = random.Random(f"{seed}/{n}").getrandbits(31)
            completion = await self._complete(clients[request.engine], request, request_seed, salt)
            machine.feed(completion, time.monotonic() - asked)
            n += 1
            prompt_tokens += len(request.prompt_ids)
            cached_tokens += completion.cached_tokens
        row = as_row(task, machine, time.monotonic() - started)
        return {**row, "prompt_tokens": prompt_tokens, "cached_tokens": cached_tokens}

    async def _complete(self, client: Client, request: Request, seed: int, salt: str) -> Completion:
        """What the engine makes of a request, handed over as the method does."""
        if self.params.handoff(self.pair, self.method) == "text":
            return await client.complete_text(request, seed, salt, self.tokenizer)
        return await client.complete(request, seed, salt)

    def _setting(self, task: Task) -> Setting:
        """What the method's machine is to know of a task."""
        return Setting(
            prompt_ids=task.prompt_ids,
            budget=self.pair.budget - task.spent,
            decode=lambda ids: self.tokenizer.decode(list(ids), skip_special_tokens=False),
            encode=lambda text: list(self.tokenizer.encode(text, add_special_tokens=False).ids),
            cues=self.cues,
            cue_matching=self.pair.cue_matching,
            min_tokens=self.params.relay.min_tokens,
            answer_engine=self.params.relay.answer_engine,
        )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The pair's."""
        return models.tokenizer(self.pair)


@asynccontextmanager
async def connected(
    engines: Mapping[str, Engine], pair: Pair, params: Params
) -> AsyncIterator[Mapping[str, Client]]:
    """A client for each engine."""
    async with AsyncExitStack() as stack:
        yield {
            role: await stack.enter_async_context(Client(engine, pair.sampling, params.infer))
            for role, engine in engines.items()
        }


def key(row: Row) -> tuple[int, int]:
    """What a row answers: (problem_id, repeat)."""
    return row["problem_id"], row["repeat"]


def as_row(task: Task, machine: Machine, wall_s: float) -> Row:
    """The finished answer as a line of the shard."""
    answer, decode = machine.answer, machine.setting.decode
    stage = [] if answer.answer_start is None else answer.token_ids[answer.answer_start :]
    if answer.finish_reason == "stop":
        stage = stage[:-1]  # the end-of-turn token, another in each family
    return {
        "problem_id": task.problem_id,
        "repeat": task.repeat,
        "answer_text": decode(stage).strip(),
        "token_ids": answer.token_ids,
        "answer_start": answer.answer_start,
        "large_tokens": answer.tokens_by("large"),
        "small_tokens": answer.tokens_by("small"),
        "n_switches": answer.n_switches,
        "finish_reason": answer.finish_reason,
        "wall_s": wall_s,
        "segments": [asdict(segment) for segment in answer.segments],
    }
