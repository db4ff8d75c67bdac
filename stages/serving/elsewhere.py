"""Engines that run already: vLLM servers that somebody else has started.

A server without the call for token ids is asked by its completions, which also take and return
token ids. What a server lacks is found out before anything is served.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx
import psutil
from tokenizers import Tokenizer

from stages.config.schema import Infer
from stages.engine.client import GENERATE, Client
from stages.engine.replies import shown
from stages.engine.spec import MAX_STOP_STRINGS
from stages.methods.base import Request
from stages.runtime.errors import UserError
from stages.serving.metrics import Metrics
from stages.serving.streaming import StreamingClient
from stages.serving.supervisor import Kept

COMPLETIONS = "/v1/completions"
PROBE = "Thus 12 + 30 = 42.\n\nWait, naïve: 中文 \U0001f600?"
REPLY_WITHIN_S = 30.0


@dataclass(frozen=True)
class Needs:
    """What methods ask of a server: tokens of context, and stop strings in one request."""

    tokenizer: Tokenizer
    max_model_len: int
    stops: int


@dataclass(frozen=True)
class Elsewhere:
    """A server that is not ours. `model`: the name that it serves the model by."""

    role: str
    url: str
    key: str
    model: str = ""
    drafts: bool = False
    routers: tuple[str, ...] = ()
    ended: None = None
    processes: list[psutil.Process] = field(default_factory=list)

    def lost(self, ailment: str | None = None) -> UserError:
        """Return what to raise once it serves no more."""
        return UserError(f"engine '{self.role}' at {self.url} serves no more ({ailment})")


class IdsClient(StreamingClient):
    """A client that asks by the call for token ids."""

    def body(self, request: Request, seed: int, salt: str) -> dict[str, Any]:
        """Return what the server is sent."""
        return super().body(request, seed, salt) | {"model": model_of(self)}


class CompletionsClient(StreamingClient):
    """A client that asks by completions."""

    path = COMPLETIONS

    def body(self, request: Request, seed: int, salt: str) -> dict[str, Any]:
        """Return what the server is sent."""
        return {
            "model": model_of(self),
            "prompt": request.prompt_ids,
            "return_token_ids": True,
            "cache_salt": salt,
            **self._sampling(request, seed),
        }


def model_of(client: Client) -> str:
    """Return the name of the model that a client asks for."""
    assert isinstance(client.engine, Elsewhere)
    return client.engine.model


class Found(Kept):
    """A server that somebody else has started: it is waited for, never started or stopped."""

    def __init__(self, server: Elsewhere, needs: Needs, infer: Infer, metrics: Metrics) -> None:
        super().__init__(server.role, metrics)
        self.server, self.needs, self.infer = server, needs, infer

    async def reach(self) -> Client:
        """Find out how the server is asked; UserError if it is not there or cannot do it."""
        headers = {"Authorization": f"Bearer {self.server.key}"} if self.server.key else {}
        try:
            async with httpx.AsyncClient(
                base_url=self.server.url, headers=headers, timeout=REPLY_WITHIN_S, trust_env=False
            ) as http:
                model, self.streaming = await Probe(http, self.server, self.needs).found()
        except httpx.HTTPError as error:
            raise lacking(self.server, f"{type(error).__name__} {error}".rstrip()) from error
        engine = Elsewhere(self.server.role, self.server.url, self.server.key, model)
        return Client(engine, None, self.infer)


class Probe:
    """Questions to a server that runs already."""

    def __init__(self, http: httpx.AsyncClient, server: Elsewhere, needs: Needs) -> None:
        self.http, self.server, self.needs = http, server, needs
        self.ids = needs.tokenizer.encode(PROBE, add_special_tokens=False).ids

    async def found(self) -> tuple[str, type[StreamingClient]]:
        """Return the model's name and how it is asked; UserError that says what is missing."""
        model = await self.model()
        await self.check_tokens(model)
        return model, await self.client(model)

    async def model(self) -> str:
        """Return the name of the model that is served first; UserError if its context is short."""
        reply = await self.http.get("/v1/models")
        if reply.status_code == HTTPStatus.UNAUTHORIZED:
            raise lacking(
                self.server, f"it wants a key, and {key_variable(self.server.role)} is not its key"
            )
        try:
            first: Mapping[str, Any] = reply.raise_for_status().json()["data"][0]
            name, length = str(first["id"]), first.get("max_model_len")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise lacking(self.server, "it lists no model at /v1/models") from error
        if isinstance(length, int) and length < self.needs.max_model_len:
            raise lacking(
                self.server,
                f"its context is {length} tokens, the pair's max_model_len is "
                f"{self.needs.max_model_len}",
            )
        return name

    async def check_tokens(self, model: str) -> None:
        """Raise UserError if the server reads a text as other tokens than the pair does."""
        body = {"model": model, "prompt": PROBE, "add_special_tokens": False}
        reply = await self.http.post("/tokenize", json=body)
        if reply.status_code == HTTPStatus.OK and reply.json().get("tokens") != self.ids:
            raise lacking(
                self.server, "it reads text as other tokens than the pair: not a model of this pair"
            )

    async def client(self, model: str) -> type[StreamingClient]:
        """Return how the server is asked."""
        brief = {"max_tokens": 1, "temperature": 0}
        by_ids = {"model": model, "token_ids": self.ids, "sampling_params": brief}
        if (await self.http.post(GENERATE, json=by_ids)).is_success:
            stops = {**brief, "stop": self.stops}
            await self.check_stops(GENERATE, by_ids | {"sampling_params": stops})
            return IdsClient
        by_text = {"model": model, "prompt": self.ids, "return_token_ids": True, **brief}
        reply = await self.http.post(COMPLETIONS, json=by_text)
        if not reply.is_success:
            raise lacking(self.server, f"{COMPLETIONS}: {reply.status_code} {shown(reply.content)}")
        if not reply.json()["choices"][0].get("token_ids"):
            raise lacking(
                self.server, f"{COMPLETIONS} returns no token ids; vLLM 0.10.2 or newer does"
            )
        await self.check_stops(COMPLETIONS, by_text | {"stop": self.stops})
        return CompletionsClient

    @property
    def stops(self) -> list[str]:
        """Return as many stop strings as a request may have."""
        return [f"stop {n}" for n in range(self.needs.stops)]

    async def check_stops(self, path: str, body: dict[str, Any]) -> None:
        """Raise UserError if the server does not take that many stop strings."""
        reply = await self.http.post(path, json=body)
        if not reply.is_success:
            raise lacking(
                self.server,
                f"it takes no {self.needs.stops} stop strings in a request; start it with "
                f"VLLM_MAX_STOP_STRINGS={MAX_STOP_STRINGS} ({reply.status_code} "
                f"{shown(reply.content)})",
            )


def lacking(server: Elsewhere, what: str) -> UserError:
    """Return what is wrong with a server."""
    return UserError(f"--{server.role}-url {server.url}: {what}")


def key_variable(role: str) -> str:
    """Return the variable that holds the key of a server that runs already."""
    return f"RELAYGEN_{role.upper()}_KEY"
