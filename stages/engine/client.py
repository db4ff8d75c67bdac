"""Send requests to one vLLM server, as token ids, over kept-alive connections.

Answers are keyed by this module's import closure: types alone are imported from the rest.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import aiohttp
import orjson
from prometheus_client.parser import text_string_to_metric_families

from stages.engine import replies
from stages.engine.replies import BadReplyError
from stages.engine.spec import KEEP_ALIVE_S, MODEL_NAME
from stages.methods.base import Completion, Request, Route
from stages.runtime.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import psutil
    from tokenizers import Tokenizer

    from stages.config.schema import Infer, Sampling

GENERATE = "/inference/v1/generate"
DRAFTS = "vllm:spec_decode_num_drafts_total"
ACCEPTED = "vllm:spec_decode_num_accepted_tokens_total"
LATER = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
LONGEST_PAUSE_S = 60.0  # that a server may ask for
log = logging.getLogger(__name__)
Reply = TypeVar("Reply")


class RequestFailedError(Exception):
    """A request failed after all retries; nothing is recorded for it."""


class RequestRefusedError(RequestFailedError):
    """The server refuses a request, and would refuse it again."""


class LaterError(BadReplyError):
    """The server wants to be asked again, `pause_s` seconds later or more."""

    def __init__(self, message: str, pause_s: float) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class Server(Protocol):
    """What a client needs of an engine, started by this process or not.

    `drafts`: whether it drafts tokens. `routers`: what it can route tokens by. `ended`: how its
    process ended, None while it runs. `processes`: that it runs in, as far as they are here.
    """

    @property
    def role(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def drafts(self) -> bool: ...
    @property
    def routers(self) -> tuple[str, ...]: ...
    @property
    def ended(self) -> str | None: ...
    @property
    def processes(self) -> list[psutil.Process]: ...
    def lost(self, ailment: str | None = None) -> UserError: ...


class Client:
    """A client of one engine; use as an async context manager."""

    def __init__(self, engine: Server, sampling: Sampling | None, infer: Infer) -> None:
        self.engine, self.sampling, self.infer = engine, sampling, infer

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession(
            self.engine.url,
            headers={
                "Authorization": f"Bearer {self.engine.key}",
                "Content-Type": "application/json",
            },
            # The client closes idle connections before the server does: no request is sent on a
            # connection that the server is closing.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S / 2),
            timeout=aiohttp.ClientTimeout(self.infer.request_timeout_s, sock_connect=10),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.http.close()

    async def complete(self, request: Request, seed: int, salt: str) -> Completion:
        """Continue `request.prompt_ids`, sent and received as token ids.

        `salt` separates the prefix cache of one answer from all others, so that an answer does not
        depend on earlier ones. Raises UserError if the server has died, RequestRefusedError if it
        refuses the request, RequestFailedError after the last retry.
        """
        read = partial(replies.tokens_completion, request=request)
        return await self._ask("POST", GENERATE, read, self.body(request, seed, salt))

    def body(self, request: Request, seed: int, salt: str) -> dict[str, Any]:
        """Return what the endpoint for token ids is sent."""
        return {
            "model": MODEL_NAME,
            "token_ids": request.prompt_ids,
            "output_mode": "text",  # in addition to the ids
            "cache_salt": salt,
            "sampling_params": self._sampling(request, seed),
        }

    async def complete_text(
        self, request: Request, seed: int, salt: str, tokenizer: Tokenizer
    ) -> Completion:
        """Continue `request.prompt_ids` as the released client does: as a chat message of text.

        The server renders and tokenizes the whole chat again, and the client looks up the model
        before every request. The result's `token_ids` are those of the returned text.
        """
        await self._ask("GET", "/v1/models", replies.loaded)
        text = tokenizer.decode(request.prompt_ids, skip_special_tokens=False)
        body = {
            "model": MODEL_NAME,
            "messages": [{"role": "assistant", "content": text}],
            "add_generation_prompt": False,
            "continue_final_message": True,
            "cache_salt": salt,
            **self._sampling(request, seed),
        }

        def encode(written: str) -> list[int]:
            return list(tokenizer.encode(written, add_special_tokens=False).ids)

        read = partial(replies.text_completion, request=request, encode=encode)
        return await self._ask("POST", "/v1/chat/completions", read, body)

    def _sampling(self, request: Request, seed: int) -> dict[str, Any]:
        """Return the request's sampling parameters; UserError if the engine lacks its router."""
        if request.route and request.route.router not in self.engine.routers:
            # vLLM ignores what it does not know: the engine would keep every token.
            raise UserError(
                f"engine '{self.engine.role}' was started without the router "
                f"'{request.route.router}': it would route no token"
            )
        return {
            "max_tokens": request.max_tokens,
            "stop": request.stop,
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
            "seed": seed,
            **({"logprobs": request.logprobs} if request.logprobs else {}),
            **(self.sampling.given() if self.sampling else {}),
            **(routing(request.route) if request.route else {}),
        }

    async def margins(self, token_ids: list[int]) -> list[float | None]:
        """Return p(top-1) - p(top-2) of the distribution that predicts each token; None first.

        The probabilities are at temperature 1 (paper section 3.1). See `complete` for the errors.
        """
        # Detokenizing every returned token would take the server longer than reading the prompt.
        sampling = {"max_tokens": 1, "prompt_logprobs": 2, "detokenize": False}
        body = {"model": MODEL_NAME, "token_ids": token_ids, "sampling_params": sampling}
        read = partial(replies.margins_in, n_tokens=len(token_ids))
        return await self._ask("POST", GENERATE, read, body)

    async def speculation(self) -> tuple[int, int]:
        """Return (drafts, accepted tokens) since the engine started; zeros without speculation."""
        if not self.engine.drafts:
            return 0, 0
        counts = await self.metrics(DRAFTS, ACCEPTED)
        return int(counts[DRAFTS]), int(counts[ACCEPTED])

    async def metrics(self, *names: str) -> dict[str, float]:
        """Return these counters of the engine; UserError if it does not report them."""
        try:
            async with self.http.get("/metrics", raise_for_status=True) as response:
                text = await response.text()
            counts = {
                sample.name: sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
            return {name: counts[name] for name in names}
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            what = f"no metric {error}" if isinstance(error, KeyError) else "no metrics"
            raise UserError(
                f"engine '{self.engine.role}' has {what}; "
                "is its server started with --disable-log-stats?"
            ) from error

    async def _ask(
        self,
        verb: str,
        path: str,
        read: Callable[[bytes], Reply],
        body: dict[str, Any] | None = None,
    ) -> Reply:
        """Send a request and return what `read` makes of the reply, with retries.

        See `complete` for the errors.
        """
        data = orjson.dumps(body) if body else None
        pause_s = 0.0
        for attempt in range(self.infer.retries + 1):
            await asyncio.sleep(pause_s)
            try:
                return read(await self._send(verb, path, data))
            except (aiohttp.ClientError, TimeoutError, BadReplyError) as error:
                failure = self._in_words(error)
                pause_s = max(2.0**attempt, getattr(error, "pause_s", 0.0))
            log.warning("engine '%s': %s", self.engine.role, failure)
            if self.engine.ended:
                raise self.engine.lost()
        raise RequestFailedError(f"engine '{self.engine.role}': {failure}")

    async def _send(self, verb: str, path: str, data: bytes | None) -> bytes:
        """Send a request once and return the reply's content; an error if the server sends one."""
        async with self.http.request(verb, path, data=data, allow_redirects=False) as response:
            content = await response.read()
        if response.status == HTTPStatus.OK:
            return content
        failure = f"{response.status} {replies.shown(content)}"
        if response.status in LATER:
            raise LaterError(failure, pause_in(response.headers.get("Retry-After", "")))
        if HTTPStatus.BAD_REQUEST <= response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise RequestRefusedError(f"engine '{self.engine.role}' refused a request: {failure}")
        raise BadReplyError(failure)

    def _in_words(self, error: Exception) -> str:
        """Return why a request got no reply."""
        match error:
            case BadReplyError():
                return str(error)
            case aiohttp.ClientError():
                return f"{type(error).__name__} {error}"
        return f"no reply in {self.infer.request_timeout_s} s (infer.request_timeout_s)"


def routing(route: Route) -> dict[str, Any]:
    """Return the parameters by which stages.engine.routing leaves tokens to the other model."""
    return {
        "stop_token_ids": [route.mark],
        "include_stop_str_in_output": False,  # the text is without the mark
        "extra_args": {"route": asdict(route)},
    }


def pause_in(retry_after: str) -> float:
    """Return the seconds that a server asks to wait, at most LONGEST_PAUSE_S."""
    return min(float(retry_after), LONGEST_PAUSE_S) if retry_after.isdecimal() else 0.0
