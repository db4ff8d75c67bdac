"""The HTTP server: OpenAI's chat and completion calls, and the page."""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from http import HTTPStatus
from importlib.metadata import version
from importlib.resources import files
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web

from stages.engine.hub import one_line
from stages.serving import wire
from stages.serving.errors import ApiError
from stages.serving.service import Ended, Served, Service, Wanted, new_seed
from stages.serving.visible import Piece
from stages.view import completed

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Item = tuple[int, Piece | Ended]

MOST_BYTES = 4 * 2**20  # of a body
BODY_WITHIN_S = 30.0
OPEN = "/health"
COOKIE = "relaygen_key"
PAGE = files("stages.serving").joinpath("page.html")
SAMPLING = ("temperature", "top_p", "top_k")


class Guard:
    """Let in who has the key, and put every error into the API's form."""

    def __init__(self, key: str) -> None:
        self.key = key.encode()

    @web.middleware
    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path != OPEN and not self.has_key(request):
                raise ApiError(
                    "the key is missing or wrong: Authorization: Bearer KEY",
                    HTTPStatus.UNAUTHORIZED,
                    code="invalid_api_key",
                )
            return await handler(request)
        except ApiError as error:
            return reply(error.body, error.status, error.headers)
        except web.HTTPRedirection:
            raise
        except web.HTTPException as error:
            refused = ApiError(f"{request.method} {request.path}: {error.reason}", error.status)
            return reply(refused.body, refused.status)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            broken = ApiError("internal error; see the log", HTTPStatus.INTERNAL_SERVER_ERROR)
            return reply(broken.body, broken.status)

    def has_key(self, request: web.Request) -> bool:
        """Return whether a request has the key: in its header, or a browser's in its cookie."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.cookies.get(COOKIE, "") or self.at_the_door(request)
        return hmac.compare_digest(given.encode(errors="surrogateescape"), self.key)

    def at_the_door(self, request: web.Request) -> str:
        """Return the key in the page's address, with which a browser comes the first time."""
        return request.query.get("key", "") if request.path == "/" else ""


class Api:
    """The paths of the server."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [
            web.get("/", self.page),
            web.get("/health", self.health),
            web.get("/metrics", self.metrics),
            web.get("/version", self.version),
            web.get("/v1/models", self.models),
            web.get("/v1/models/{name}", self.one_model),
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/completions", self.completions),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """Return the page; a browser that brings the key gets it as a cookie."""
        if key := request.query.get("key"):
            response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/"})
            response.set_cookie(COOKIE, key, httponly=True, samesite="Strict")
            return response
        headers = {
            "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
            "style-src 'unsafe-inline'; connect-src 'self'; img-src data:; form-action 'none'; "
            "frame-ancestors 'none'; base-uri 'none'",
            "Cache-Control": "no-store",
        }
        return web.Response(
            text=completed(PAGE.read_text(encoding="utf-8")),
            content_type="text/html",
            headers=headers,
        )

    async def health(self, _: web.Request) -> web.Response:
        """Say whether every engine serves."""
        down = [role for role, one in self.service.engines.items() if not one.up]
        status = HTTPStatus.SERVICE_UNAVAILABLE if down else HTTPStatus.OK
        return reply({"status": "starting" if down else "ok"}, status)

    async def metrics(self, _: web.Request) -> web.Response:
        """Return counts and times as Prometheus reads them."""
        return web.Response(
            body=self.service.metrics.text(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def version(self, _: web.Request) -> web.Response:
        """Return the version of this project."""
        return reply({"version": version("relaygen-pipeline")})

    async def models(self, _: web.Request) -> web.Response:
        """List the methods as models."""
        data = [self.described(one) for one in self.service.served.values()]
        return reply({"object": "list", "data": data})

    async def one_model(self, request: web.Request) -> web.Response:
        """Describe one method."""
        return reply(self.described(self.service.model(request.match_info["name"])))

    def described(self, one: Served) -> dict[str, Any]:
        """Return a method as a model."""
        return {
            "id": one.name,
            "object": "model",
            "created": self.service.since,
            "owned_by": "relaygen",
            "max_model_len": one.max_model_len,
            "relaygen": {"words": one.family.prompts["plain"]["math"]},
        }

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat."""
        asked = wire.parsed(wire.ChatRequest, await body_of(request))
        served = self.service.model(asked.model)
        served.check_length("".join(one.text for one in asked.messages))
        messages = [
            {"role": one.role, "content": one.text}
            | ({"reasoning_content": one.reasoning_content} if one.reasoning_content else {})
            for one in asked.messages
        ]
        ids = self.service.chat_ids(messages, asked.chat_template_kwargs)
        wanted = self.wanted(asked, [ids], asked.limit)
        return await self.answer(request, asked, wanted, Chat(asked.model))

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """Continue texts or token ids as they are."""
        asked = wire.parsed(wire.CompletionRequest, await body_of(request))
        served = self.service.model(asked.model)
        for one in asked.prompts:
            if isinstance(one, str):
                served.check_length(one)
        prompts = [
            self.service.encode(one) if isinstance(one, str) else one for one in asked.prompts
        ]
        if not all(prompts):
            raise ApiError("prompt: it is empty", param="prompt")
        wanted = self.wanted(asked, prompts, asked.limit)
        return await self.answer(request, asked, wanted, Text(asked.model))

    def wanted(
        self, asked: wire.Request, prompts: list[list[int]], limit: int | None
    ) -> list[Wanted]:
        """Return the answers that a request asks for."""
        if len(prompts) * asked.n > wire.MOST_CHOICES:
            raise ApiError(f"n: at most {wire.MOST_CHOICES} answers in one request", param="n")
        given = {name: value for name in SAMPLING if (value := getattr(asked, name)) is not None}
        if "top_k" in given:
            given["top_k"] = max(0, given["top_k"])
        served = self.service.model(asked.model)
        seed = new_seed() if asked.seed is None else asked.seed
        return [
            Wanted(served, ids, limit, given, asked.stops, seed, index, asked.stream)
            for ids in prompts
            for index in range(asked.n)
        ]

    async def answer(
        self, request: web.Request, asked: wire.Request, wanted: list[Wanted], form: "Form"
    ) -> web.StreamResponse:
        """Reply with the answers, as they come or once they are finished."""
        async with aclosing(self.service.pieces(wanted)) as items:
            if asked.stream:
                return await stream(request, items, form, asked.stream_options.include_usage)
            return reply(form.whole(await collected(items, len(wanted))))


class Form:
    """The form of one kind of reply."""

    prefix: str
    object: str
    chunk_object: str

    def __init__(self, model: str) -> None:
        self.head = {"id": f"{self.prefix}-{uuid4().hex}", "created": int(time.time())}
        self.model = model

    def whole(self, answers: list[tuple[list[Piece], Ended]]) -> dict[str, Any]:
        """Return the reply with all answers."""
        choices = [
            {
                "index": index,
                **self.content(pieces),
                "finish_reason": ended.finish_reason,
                "logprobs": None,
            }
            for index, (pieces, ended) in enumerate(answers)
        ]
        usage = usage_of([ended for _, ended in answers])
        return {
            **self.head,
            "object": self.object,
            "model": self.model,
            "choices": choices,
            "usage": usage,
        }

    def chunk(self, *choices: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Return one event of a stream."""
        return {
            **self.head,
            "object": self.chunk_object,
            "model": self.model,
            "choices": [{"logprobs": None, "finish_reason": None, **choice} for choice in choices],
            **more,
        }

    def content(self, pieces: list[Piece]) -> dict[str, Any]:
        """Return the part of a choice that has the text."""
        raise NotImplementedError

    def delta(self, piece: Piece) -> dict[str, Any]:
        """Return the part of a streamed choice that has a piece of text."""
        raise NotImplementedError

    def opening(self) -> dict[str, Any]:
        """Return what a streamed choice begins with."""
        raise NotImplementedError


class Chat(Form):
    """Replies to a chat: reasoning apart from the content."""

    prefix, object, chunk_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def content(self, pieces: list[Piece]) -> dict[str, Any]:
        reasoning, content = (
            "".join(piece.text for piece in pieces if piece.kind == kind)
            for kind in ("reasoning", "content")
        )
        thought = {"reasoning": reasoning, "reasoning_content": reasoning}
        return {"message": {"role": "assistant", "content": content, **thought}}

    def delta(self, piece: Piece) -> dict[str, Any]:
        if piece.kind == "markup":
            return {"delta": {}}
        names = ("content",) if piece.kind == "content" else ("reasoning", "reasoning_content")
        return {"delta": dict.fromkeys(names, piece.text)}

    def opening(self) -> dict[str, Any]:
        return {"delta": {"role": "assistant", "content": ""}}


class Text(Form):
    """Replies to a completion: the text as it was written."""

    prefix, object, chunk_object = "cmpl", "text_completion", "text_completion"

    def content(self, pieces: list[Piece]) -> dict[str, Any]:
        return {"text": "".join(piece.text for piece in pieces)}

    def delta(self, piece: Piece) -> dict[str, Any]:
        return {"text": piece.text}

    def opening(self) -> dict[str, Any]:
        return {"text": ""}


def usage_of(ended: list[Ended]) -> dict[str, Any]:
    """Return what answers took. `relaygen`: what each model wrote, and the hand-offs."""
    large = sum(one.tokens["large"] for one in ended)
    small = sum(one.tokens["small"] for one in ended)
    prompt = sum(one.prompt_tokens for one in ended)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": large + small,
        "total_tokens": prompt + large + small,
        "prompt_tokens_details": {"cached_tokens": sum(one.cached_tokens for one in ended)},
        "completion_tokens_details": {
            "reasoning_tokens": sum(one.reasoning_tokens for one in ended)
        },
        "relaygen": {
            "large_tokens": large,
            "small_tokens": small,
            "hand_offs": sum(one.hand_offs for one in ended),
        },
    }


async def body_of(request: web.Request) -> bytes:
    """Return a request's body; ApiError if it does not come in time."""
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            return await request.read()
    except TimeoutError as error:
        raise ApiError("the body did not come in time", HTTPStatus.REQUEST_TIMEOUT) from error
    except web.RequestPayloadError as error:
        raise ApiError(f"the body cannot be read: {one_line(error)}") from error


async def collected(items: AsyncIterator[Item], n: int) -> list[tuple[list[Piece], Ended]]:
    """Return the pieces and the end of each of `n` answers."""
    pieces: list[list[Piece]] = [[] for _ in range(n)]
    ends: dict[int, Ended] = {}
    async for index, item in items:
        if isinstance(item, Ended):
            ends[index] = item
        else:
            pieces[index].append(item)
    return [(pieces[index], ends[index]) for index in range(n)]


async def stream(
    request: web.Request, items: AsyncIterator[Item], form: Form, with_usage: bool
) -> web.StreamResponse:
    """Send answers as server-sent events. An error before the first piece is a plain reply."""
    first = await anext(items)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    await response.prepare(request)
    # Who has left is told nothing more; what is still being written ends with `items`.
    with suppress(ConnectionResetError):
        async for event in events(first, items, form, with_usage):
            await response.write(b"data: " + event + b"\n\n")
        await response.write_eof()
    return response


async def events(
    first: Item, items: AsyncIterator[Item], form: Form, with_usage: bool
) -> AsyncIterator[bytes]:
    """Yield the data of each event of a stream."""
    opened: set[int] = set()
    ended: list[Ended] = []
    try:
        async for index, item in chained(first, items):
            if index not in opened:
                opened.add(index)
                yield orjson.dumps(form.chunk({"index": index, **form.opening()}))
            if isinstance(item, Ended):
                ended.append(item)
                last = {"index": index, **form.delta(NOTHING), "finish_reason": item.finish_reason}
                yield orjson.dumps(form.chunk(last))
            elif item.cue or item.kind != "markup" or isinstance(form, Text):
                by = {"by": item.by, "cue": item.cue}
                yield orjson.dumps(form.chunk({"index": index, **form.delta(item)}, relaygen=by))
        if with_usage:
            yield orjson.dumps(form.chunk(usage=usage_of(ended)))
    except ApiError as error:
        yield orjson.dumps(error.body)
    yield b"[DONE]"


NOTHING = Piece("markup", "", "large")


async def chained(first: Item, rest: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """Yield the first item, then the others."""
    yield first
    async for item in rest:
        yield item


def reply(
    content: dict[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """Return a reply in JSON."""
    return web.Response(
        body=orjson.dumps(content),
        status=status,
        content_type="application/json",
        headers=headers,
    )


def application(service: Service, key: str) -> web.Application:
    """Return the server's application."""
    app = web.Application(middlewares=[Guard(key).__call__], client_max_size=MOST_BYTES)
    app.add_routes(Api(service).routes())
    return app
