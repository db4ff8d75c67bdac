"""One answer, from its first token to its last: what a method asks, of which engine, by which seed.

Only what decides an answer's tokens is here and in what this module imports: finished answers are
kept by the digest of this code.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from stages.engine.client import RequestFailedError
from stages.engine.replies import BadReplyError, settled
from stages.methods.base import Completion, Machine, Marks, Method, Request, Setting
from stages.tracking.digests import of_value
from stages.tracking.files import Row

if TYPE_CHECKING:
    import polars as pl
    from tokenizers import Tokenizer

    from stages.engine.client import Client
    from stages.generation.store import Key


@dataclass(frozen=True)
class Task:
    """One answer to ask for: repeat `repeat` of a prompt.

    `spent`: tokens of the budget that the prompt already holds, where it goes on from a reasoning.
    `problem`: whose prompt it is, for messages alone.
    """

    prompt_ids: list[int]
    repeat: int
    spent: int = 0
    problem: int | None = None

    @cached_property
    def prompt(self) -> str:
        """The digest of the prompt."""
        return of_value(self.prompt_ids, self.spent)

    @property
    def key(self) -> Key:
        """What the answer is kept by, under its recipe."""
        return self.prompt, str(self.repeat)

    def __str__(self) -> str:
        return f"problem {self.problem}, repeat {self.repeat}"


def tasks(problems: pl.DataFrame, repeats: int, prompt_column: str = "prompt_ids") -> list[Task]:
    """Return every problem `repeats` times, in order."""
    return [
        Task(row[prompt_column], repeat, problem=row["problem_id"])
        for row in problems.iter_rows(named=True)
        for repeat in range(repeats)
    ]


@dataclass(frozen=True)
class Step:
    """One request of an answer and its completion."""

    engine: str
    prompt_tokens: int
    completion: Completion


@dataclass(frozen=True)
class Answering:
    """A method with all that shapes its answers. `cues`: the words that it hands over at."""

    seed: int
    budget: int
    method: Method
    cues: tuple[str, ...]
    tokenizer: Tokenizer
    marks: Marks = field(default_factory=Marks)

    async def answer(self, task: Task, clients: Mapping[str, Client]) -> Row:
        """Return one answer, as it is kept. `clients`: {role: client of its engine}."""
        machine = self.start(task)
        started = time.monotonic()
        prompt_tokens = cached_tokens = 0
        drafted: list[tuple[int, int]] = []
        async for step in self.steps(task, machine, clients):
            prompt_tokens += step.prompt_tokens
            cached_tokens += step.completion.cached_tokens
            drafted += drafts(step.completion, step.prompt_tokens - len(task.prompt_ids))
        row = as_row(machine, time.monotonic() - started)
        return {
            **row,
            "prompt_tokens": prompt_tokens,
            "cached_tokens": cached_tokens,
            "draft_at": [at for at, _ in drafted],
            "draft_accepted": [accepted for _, accepted in drafted],
        }

    def start(self, task: Task) -> Machine:
        """Return the machine that writes one answer."""
        return self.method.start(self._setting(task))

    async def steps(
        self, task: Task, machine: Machine, clients: Mapping[str, Client]
    ) -> AsyncGenerator[Step]:
        """Write an answer to its end; yield after each request."""
        # By the prompt, not by its number: one problem in two benchmarks has one answer.
        seed = of_value(self.seed, task.prompt, task.repeat)
        salt = of_value(seed, self.method.model_dump(), self.cues)
        n = 0
        while request := machine.next_request():
            asked = time.monotonic()
            request_seed = random.Random(f"{seed}/{n}").getrandbits(31)
            completion = await self._complete(clients[request.engine], request, request_seed, salt)
            prompt_tokens = len(request.prompt_ids)  # `feed` may make the list grow
            machine.feed(completion, time.monotonic() - asked)
            yield Step(request.engine, prompt_tokens, completion)
            n += 1

    async def _complete(self, client: Client, request: Request, seed: int, salt: str) -> Completion:
        """Return what the engine makes of a request, handed over as the method does.

        Raises RequestFailedError as the client does, and if ids and text of a reply do not agree.
        """
        if self.method.hands_over_text:
            return await client.complete_text(request, seed, salt, self.tokenizer)
        completion = await client.complete(request, seed, salt)
        try:
            return settled(completion, request.prompt_ids, self.tokenizer)
        except BadReplyError as error:
            raise RequestFailedError(f"engine '{request.engine}': {error}") from error

    def _setting(self, task: Task) -> Setting:
        """Return what the method's machine is to know of a task."""
        return Setting(
            prompt_ids=task.prompt_ids,
            budget=self.budget - task.spent,
            decode=self._decode,
            encode=lambda text: list(self.tokenizer.encode(text, add_special_tokens=False).ids),
            marks=self.marks,
            reasoned=task.spent > 0,
            cues=self.cues,
        )

    def _decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, special tokens included."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)


def drafts(completion: Completion, begin: int) -> list[tuple[int, int]]:
    """Return (where in the answer it began, drafted tokens that were accepted) of each step.

    `begin`: tokens of the answer before the completion. Its first token comes with the prompt,
    without a draft. Steps without a draft are not reported: where there are such, all others are
    taken to be spread evenly.
    """
    sizes = [accepted + 1 for accepted in completion.accepted]
    n = max(1, len(completion.token_ids) - 1)
    stretch = max(1.0, n / max(1, sum(sizes)))
    places = accumulate(sizes, initial=0)
    return [
        (begin + 1 + int(at * stretch), accepted)
        for at, accepted in zip(places, completion.accepted, strict=False)
    ]


def as_row(machine: Machine, wall_s: float) -> Row:
    """Return the finished answer as it is kept; `wall_s`: seconds that it took."""
    answer, decode = machine.answer, machine.setting.decode
    stage = [] if answer.answer_start is None else answer.token_ids[answer.answer_start :]
    if answer.finish_reason == "stop":
        stage = stage[:-1]  # the end-of-turn token, another in each family
    return {
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
