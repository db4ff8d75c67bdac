"""Ask engines for answers: many in flight, each kept as soon as it is finished.

Shared by the traces and the infer stage.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from tokenizers import Tokenizer

from stages.engine.client import Client, RequestFailedError
from stages.engine.server import Engine
from stages.errors import UserError
from stages.files import Row, Shard, digest
from stages.methods.base import Machine, Method, Setting
from stages.params import Infer, Pair, Relay, Sampling
from stages.progress import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """One answer to be had: repeat `repeat` of one problem."""

    problem_id: int
    repeat: int
    prompt_ids: list[int]


def tasks(problems: pl.DataFrame, repeats: int) -> list[Task]:
    """Every problem `repeats` times, in order."""
    return [
        Task(row["problem_id"], repeat, row["prompt_ids"])
        for row in problems.iter_rows(named=True)
        for repeat in range(repeats)
    ]


def settings(pair: Pair, relay: Relay, cues: Sequence[str]) -> Callable[[Task], Setting]:
    """How to make a task's setting, with the pair's tokenizer loaded once."""
    tokenizer = Tokenizer.from_file(str(Path(pair.engines["large"]) / "tokenizer.json"))

    def decode(ids: Sequence[int]) -> str:
        return tokenizer.decode(list(ids), skip_special_tokens=False)

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    return lambda task: Setting(
        prompt_ids=task.prompt_ids,
        budget=pair.budget,
        decode=decode,
        encode=encode,
        cues=tuple(cues),
        cue_matching=pair.cue_matching,
        min_tokens=relay.min_tokens,
        answer_engine=relay.answer_engine,
    )


def collect(
    todo: Sequence[Task],
    shard: Shard,
    method: Method,
    setting: Callable[[Task], Setting],
    engines: Mapping[str, Engine],
    sampling: Sampling,
    infer: Infer,
    seed: int,
    label: str,
) -> None:
    """Get every answer of `todo` that `shard` does not hold yet.

    Raises UserError if some could not be had: what was finished stays in the shard.
    """
    have = {(row["problem_id"], row["repeat"]) for row in shard.rows}
    missing = [task for task in todo if (task.problem_id, task.repeat) not in have]
    with Progress(label, len(todo), done=len(todo) - len(missing)) as progress:

        def keep(task: Task, machine: Machine, wall_s: float) -> None:
            shard.append(as_row(task, machine, wall_s))
            progress.step(len(machine.answer.token_ids))

        async def drive() -> list[str]:
            async with AsyncExitStack() as stack:
                clients = {
                    role: await stack.enter_async_context(Client(engine, sampling, infer))
                    for role, engine in engines.items()
                }
                limit = asyncio.Semaphore(infer.concurrency)

                async def one(task: Task) -> str | None:
                    async with limit:
                        machine = method.start(setting(task))
                        started = time.monotonic()
                        try:
                            await answer(task, machine, clients, seed)
                        except RequestFailedError as error:
                            return f"problem {task.problem_id}, repeat {task.repeat}: {error}"
                        keep(task, machine, time.monotonic() - started)
                        return None

                outcomes = await asyncio.gather(*map(one, missing))
                return [failure for failure in outcomes if failure]

        failures = asyncio.run(drive())
    if failures:
        raise UserError(
            f"{label}: {len(failures)} of {len(todo)} answers could not be had, first: "
            f"{failures[0]}; run again to ask for these alone"
        )


async def answer(task: Task, machine: Machine, clients: Mapping[str, Client], seed: int) -> None:
    """Drive one machine to its end."""
    salt = digest(seed, task.problem_id, task.repeat)
    n = 0
    while request := machine.next_request():
        started = time.monotonic()
        request_seed = random.Random(f"{salt}/{n}").getrandbits(31)
        completion = await clients[request.engine].complete(request, request_seed, salt)
        machine.feed(completion, time.monotonic() - started)
        n += 1


def as_row(task: Task, machine: Machine, wall_s: float) -> Row:
    """The finished answer as a line of the shard."""
    answer, decode = machine.answer, machine.setting.decode
    stage = [] if answer.answer_start is None else answer.token_ids[answer.answer_start :]
    return {
        "problem_id": task.problem_id,
        "repeat": task.repeat,
        "answer_text": decode(stage).removesuffix("<|im_end|>").strip(),
        "token_ids": answer.token_ids,
        "answer_start": answer.answer_start,
        "large_tokens": answer.tokens_by("large"),
        "small_tokens": answer.tokens_by("small"),
        "n_switches": answer.n_switches,
        "finish_reason": answer.finish_reason,
        "wall_s": wall_s,
        "segments": [asdict(segment) for segment in answer.segments],
    }
