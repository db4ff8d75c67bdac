"""Ask an engine for a completion and hear of it while it is written."""

from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson
from pydantic import Field

from stages.config.schema import Sampling
from stages.engine import replies
from stages.engine.client import GENERATE, Client, RequestFailedError, RequestRefusedError
from stages.engine.replies import BadReplyError, Logprobs, Part, Position, TokenId, Usage
from stages.methods.base import Completion, Request

EVENT, LAST = b"data: ", b"[DONE]"


class StreamedChoice(Part):
    """Some tokens of a completion, and how it ended if these are the last."""

    token_ids: list[TokenId] | None
    text: str
    finish_reason: str | None
    stop_reason: str | int | None
    logprobs: Logprobs | None = None


class Chunk(Part):
    """One event of a stream; the last has `usage` and no choice."""

    choices: list[StreamedChoice] = Field(max_length=1)
    usage: Usage | None = None


class StreamingClient(Client):
    """A client for one answer, over the connections of `shared`.

    `hear` takes the number of tokens and their text as they are written. None: nobody listens, and
    the engine is spared an event for each token. Nothing is asked twice: the one who asks can do
    that.
    """

    path = GENERATE

    def __init__(
        self, shared: Client, sampling: Sampling, hear: Callable[[int, str], None] | None
    ) -> None:
        super().__init__(shared.engine, sampling, shared.infer.model_copy(update={"retries": 0}))
        self.http, self.hear = shared.http, hear

    async def complete(self, request: Request, seed: int, salt: str) -> Completion:
        """Continue `request.prompt_ids`. See Client.complete for the errors."""
        body = self.body(request, seed, salt)
        try:
            if self.hear is None:
                content = await self._send("POST", self.path, orjson.dumps(body))
                return replies.tokens_completion(content, request)
            return await self._streamed(request, body, self.hear)
        except (aiohttp.ClientError, TimeoutError, BadReplyError) as error:
            raise RequestFailedError(
                f"engine '{self.engine.role}': {self._in_words(error)}"
            ) from error

    async def _streamed(
        self, request: Request, body: dict[str, Any], hear: Callable[[int, str], None]
    ) -> Completion:
        """Put the events of a stream together."""
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        ids: list[int] = []
        positions: list[Position] = []
        text, last, usage = "", None, Usage()
        async for chunk in self._chunks(body):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                ids += choice.token_ids or []
                positions += choice.logprobs.content if choice.logprobs else []
                text += choice.text
                last = choice
                # The last one may end with a token that ends the turn: it is not shown.
                shown = "" if choice.finish_reason or request.tentative else choice.text
                hear(len(choice.token_ids or []), shown)
        if last is None:
            raise BadReplyError("no tokens")
        logprobs = {"content": [one.model_dump() for one in positions]}
        whole = {
            "choices": [
                {**last.model_dump(), "token_ids": ids, "text": text, "logprobs": logprobs}
            ],
            "usage": usage.model_dump(),
        }
        return replies.tokens_completion(orjson.dumps(whole), request)

    async def _chunks(self, body: dict[str, Any]) -> AsyncIterator[Chunk]:
        """Send a request and yield the events of the reply."""
        data = orjson.dumps(body)
        async with self.http.post(self.path, data=data, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                failure = f"{response.status} {replies.shown(await response.read())}"
                if response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise RequestRefusedError(f"engine '{self.engine.role}': {failure}")
                raise BadReplyError(failure)
            async for line in response.content:
                event = line.removeprefix(EVENT).strip()
                if line.startswith(EVENT) and event != LAST:
                    yield replies.parsed(event, Chunk)
