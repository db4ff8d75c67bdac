"""Write answers for clients: a pair's methods, its engines, and the requests that wait for them."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from http import HTTPStatus
from inspect import signature
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from stages.config.families import Family
from stages.config.schema import Sampling
from stages.engine.client import RequestFailedError, RequestRefusedError
from stages.engine.hub import one_line
from stages.generation.answering import Answering, Step, Task
from stages.methods.base import model_of
from stages.problems.spelled_out import MASK, control_texts, encoded, masked, without
from stages.serving.errors import ApiError
from stages.serving.metrics import Metrics
from stages.serving.supervisor import RETRY_AFTER_S, Kept
from stages.serving.visible import ModelName, Piece, Splitter, StopFoundError, Visible

MOST_CHARACTERS = 16  # of a prompt, for each token of the context: more would not fit anyway
LEAD = 32  # tokens before a text that can change how it decodes
Show = Callable[[Piece], None]
# What rendering itself takes; all other names are for the chat template.
TAKEN = set(signature(PreTrainedTokenizerBase.apply_chat_template).parameters)


@dataclass(frozen=True)
class Served:
    """A method that clients name as their model.

    `answering`, `sampling`: budget and sampling are those of requests that give none. `family`: of
    the pair, with its tags and the words around a problem.
    """

    name: str
    answering: Answering
    sampling: Sampling
    max_model_len: int
    family: Family

    def check_length(self, text: str) -> None:
        """Raise ApiError for a text that is far too long: nothing else is done while it is read."""
        most = MOST_CHARACTERS * self.max_model_len
        if len(text) > most:
            raise ApiError(
                f"the prompt has {len(text)} characters, at most {most} are read "
                f"(the context: {self.max_model_len} tokens)",
                param="prompt",
                code="context_length_exceeded",
            )

    def room(self, prompt_ids: Sequence[int]) -> int:
        """Return how many tokens may follow a prompt; ApiError if none."""
        left = self.max_model_len - len(prompt_ids)
        if left < 1:
            raise ApiError(
                f"the prompt has {len(prompt_ids)} tokens, the context {self.max_model_len}",
                param="prompt",
                code="context_length_exceeded",
            )
        return left


@dataclass(frozen=True)
class Wanted:
    """One answer that a client asks for.

    `limit`: None for the pair's budget. `streamed`: whether the client takes it as it is written.
    """

    served: Served
    prompt_ids: list[int]
    limit: int | None
    sampling: dict[str, Any]
    stops: Sequence[str]
    seed: int
    index: int = 0
    streamed: bool = True

    @property
    def budget(self) -> int:
        """Return the most tokens of the answer; ApiError if the context has not that many."""
        room = self.served.room(self.prompt_ids)
        if self.limit is None:
            return min(self.served.answering.budget, room)
        if self.limit > room:
            raise ApiError(
                f"{self.limit} tokens are asked for, and {room} fit behind the prompt",
                param="max_tokens",
                code="context_length_exceeded",
            )
        return self.limit

    @property
    def heard(self) -> bool:
        """Return whether each token counts as it comes: to a client, or for a stop string."""
        return self.streamed or bool(self.stops)


@dataclass
class Ended:
    """How an answer ended, and what it took. `cached_tokens`: of the client's own prompt.

    Of several answers to a prompt, the first alone has the prompt's tokens: it is counted once.
    """

    finish_reason: str
    prompt_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    tokens: dict[ModelName, int] = field(default_factory=dict)
    hand_offs: int = 0


class Room:
    """As many answers at a time as the engines take, the others in the order they came."""

    def __init__(self, running: int, waiting: int, metrics: Metrics) -> None:
        self.free = asyncio.Semaphore(running)
        self.inside, self.most, self.metrics = 0, running + waiting, metrics

    def enter(self, n: int) -> None:
        """Let `n` more answers in; ApiError if these would be too many to wait."""
        if self.inside + n > self.most:
            raise ApiError(
                f"{self.inside} answers are written or wait already; try again later",
                HTTPStatus.TOO_MANY_REQUESTS,
                retry_after_s=RETRY_AFTER_S,
            )
        self.inside += n

    def leave(self) -> None:
        """Let one out."""
        self.inside -= 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        with self.metrics.waiting.track_inprogress():
            await self.free.acquire()
        try:
            with self.metrics.running.track_inprogress():
                yield
        finally:
            self.free.release()


class Writing:
    """One answer while it is written."""

    def __init__(self, wanted: Wanted, engines: Mapping[str, Kept], show: Show) -> None:
        self.wanted = wanted
        base = wanted.served.answering
        self.answering = Answering(
            wanted.seed, wanted.budget, base.method, base.cues, base.tokenizer, base.marks
        )
        self.task = Task(wanted.prompt_ids, wanted.index)
        self.machine = self.answering.start(self.task)
        begin, end = wanted.served.family.think_start, wanted.served.family.think_end
        in_answer = self._decode(wanted.prompt_ids).rstrip().endswith(end)
        splitter = Splitter(begin, end, wanted.stops, in_answer)
        self.visible = Visible(splitter, show)
        sampling = wanted.served.sampling.model_copy(update=wanted.sampling)
        self.under_way: dict[ModelName, int] = {}  # tokens of the request that is not settled
        self.clients = {
            role: engines[role].streaming(
                engines[role].connected(),
                sampling,
                partial(self._hear, model_of(role)) if wanted.heard else None,
            )
            for role in base.method.roles
        }
        self.before = self.cached_tokens = 0

    async def write(self) -> Ended:
        """Write the answer to its end; ApiError if an engine fails."""
        try:
            async with aclosing(
                self.answering.steps(self.task, self.machine, self.clients)
            ) as steps:
                async for step in steps:
                    self._settle(step)
            self.visible.close(self.last)
        except StopFoundError:
            return self._ended("stop")
        except RequestRefusedError as error:
            raise ApiError(str(error)) from error
        except (RequestFailedError, ValueError) as error:
            raise ApiError(
                str(error), HTTPStatus.SERVICE_UNAVAILABLE, retry_after_s=RETRY_AFTER_S
            ) from error
        return self._ended(str(self.machine.answer.finish_reason))

    @property
    def last(self) -> ModelName:
        """Return the model that wrote last."""
        segments = self.machine.answer.segments
        return segments[-1].model if segments else "large"

    def _hear(self, by: ModelName, n: int, text: str) -> None:
        """Take tokens as an engine writes them."""
        self.under_way[by] = self.under_way.get(by, 0) + n
        self.visible.hear(text, by)

    def _settle(self, step: Step) -> None:
        """Take what the method has kept of a request."""
        self.under_way = {}
        if self.before == 0:  # later prompts hold the answer so far
            self.cached_tokens = step.completion.cached_tokens
        answer = self.machine.answer
        kept = answer.token_ids[self.before :]
        if answer.finish_reason == "stop":
            kept = kept[:-1]  # the end-of-turn token
        lead = [*self.wanted.prompt_ids[-LEAD:], *answer.token_ids[: self.before]][-LEAD:]
        before = self._decode(lead)
        self.before = len(answer.token_ids)
        by = model_of(step.engine)
        cue = answer.segments[-1].cue if answer.segments and kept else None
        self.visible.settle(self._decode([*lead, *kept])[len(before) :], by, cue)

    def _decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""
        return self.machine.setting.decode(ids)

    def _ended(self, finish_reason: str) -> Ended:
        """Return what the answer took, what was under way when it ended included."""
        answer = self.machine.answer
        by: tuple[ModelName, ...] = ("large", "small")
        tokens = {one: answer.tokens_by(one) + self.under_way.get(one, 0) for one in by}
        reasoning = sum(one.n_tokens for one in answer.segments if one.stage == "reasoning")
        first = self.wanted.index == 0
        return Ended(
            finish_reason,
            len(self.wanted.prompt_ids) if first else 0,
            self.cached_tokens if first else 0,
            reasoning,
            tokens,
            answer.n_switches,
        )


class Service:
    """A pair's methods on its engines."""

    def __init__(
        self,
        served: Mapping[str, Served],
        chat_tokenizer: Any,
        engines: Mapping[str, Kept],
        room: Room,
        metrics: Metrics,
    ) -> None:
        self.served, self.chat_tokenizer, self.engines = served, chat_tokenizer, engines
        self.room, self.metrics = room, metrics
        self.since = int(time.time())

    def model(self, name: str) -> Served:
        """Return the method of this name; ApiError if there is none."""
        if name not in self.served:
            raise ApiError(
                f"there is no model '{name}' here, but: {', '.join(self.served)}",
                HTTPStatus.NOT_FOUND,
                param="model",
                code="model_not_found",
            )
        return self.served[name]

    def render(self, messages: Sequence[Mapping[str, str]], options: Mapping[str, Any]) -> str:
        """Return the text of a chat; ApiError if the template refuses it, or thinks no more."""
        family = self.family
        if taken := sorted(TAKEN & options.keys()):
            name = f"chat_template_kwargs.{taken[0]}"
            raise ApiError(f"{name} is not supported", param=name, code="unsupported_parameter")
        given = {**family.template_args, **options}
        try:
            text: str = self.chat_tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True, **given
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise ApiError(
                f"the chat template refuses these messages: {one_line(error)}", param="messages"
            ) from error
        if text.rstrip().endswith(family.think_end):
            raise ApiError(
                "reasoning cannot be turned off here: the relay works on it",
                param="chat_template_kwargs",
            )
        return text

    @property
    def family(self) -> Family:
        """Return the pair's family, which all methods share."""
        return next(iter(self.served.values())).family

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the pair's tokenizer."""
        return next(iter(self.served.values())).answering.tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text; control tokens that it spells out are control tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def chat_ids(
        self, messages: Sequence[Mapping[str, str]], options: Mapping[str, Any]
    ) -> list[int]:
        """Return the token ids of a chat. Control tokens that its user spells out are text."""
        if any(MASK.search(one["content"]) for one in messages):
            raise ApiError(
                "the characters U+10FFFC and U+10FFFD are not supported", param="messages"
            )
        names = self.control_texts
        shown = [
            one if one["role"] == "assistant" else {**one, "content": masked(one["content"], names)}
            for one in messages
        ]
        return encoded(self.render(shown, options), names, self.tokenizer, self.spelled)

    @cached_property
    def control_texts(self) -> list[str]:
        """Return what the tokenizer reads as control tokens."""
        return control_texts(self.tokenizer, self.family.think_start, self.family.think_end)

    @cached_property
    def spelled(self) -> Tokenizer:
        """Return a tokenizer that reads these as any other text."""
        return without(self.tokenizer, self.control_texts)

    async def pieces(self, wanted: Sequence[Wanted]) -> AsyncGenerator[tuple[int, Piece | Ended]]:
        """Write answers side by side; yield (number, piece), and for each at last how it ended.

        Raises ApiError as soon as one fails. All of them end with this generator.
        """
        for one in wanted:
            _ = one.budget  # before any of them waits
            for role in one.served.answering.method.roles:
                self.engines[role].connected()
        self.room.enter(len(wanted))
        queue: asyncio.Queue[tuple[int, Piece | Ended] | None] = asyncio.Queue()

        def putting(n: int) -> Callable[[Piece | Ended], None]:
            return lambda item: queue.put_nowait((n, item))

        tasks = [asyncio.create_task(self._write(one, putting(n))) for n, one in enumerate(wanted)]
        for task in tasks:
            task.add_done_callback(lambda _: self.room.leave())
        all_of_them = asyncio.gather(*tasks)
        all_of_them.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while item := await queue.get():
                yield item
            await all_of_them
        finally:
            all_of_them.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, wanted: Wanted, put: Callable[[Piece | Ended], None]) -> None:
        """Write one answer once it is its turn, and count it."""
        name = wanted.served.name
        timer = Timer(self.metrics, name)
        outcome = "cancelled"

        def show(piece: Piece) -> None:
            if wanted.heard:
                timer.tick()
            put(piece)

        try:
            async with self.room.turn():
                ended = await Writing(wanted, self.engines, show).write()
            outcome = ended.finish_reason
            self._count(name, ended)
            put(ended)
        except ApiError as error:
            outcome = error.status.name.lower()
            raise
        finally:
            self.metrics.requests.labels(name, outcome).inc()

    def _count(self, name: str, ended: Ended) -> None:
        """Count a finished answer."""
        for by, n in ended.tokens.items():
            self.metrics.tokens.labels(name, by).inc(n)
        self.metrics.hand_offs.labels(name).inc(ended.hand_offs)


class Timer:
    """Times of one answer's pieces."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.first, self.between = metrics.first.labels(name), metrics.between.labels(name)
        self.started, self.last = time.monotonic(), 0.0

    def tick(self) -> None:
        """Note that a piece has come."""
        now = time.monotonic()
        if self.last:
            self.between.observe(now - self.last)
        else:
            self.first.observe(now - self.started)
        self.last = now


def new_seed() -> int:
    """Return a seed for a request without one."""
    return secrets.randbits(63)
