"""What is sent to an engine, and what it reports about its draft head."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tokenizers import Tokenizer

from stages.config.params import load
from stages.engine.client import ACCEPTED, DRAFTS, Client
from stages.engine.server import Engine
from stages.methods.base import Completion, Request
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))
TOKENIZER = Tokenizer.from_file("demo_pair/large/tokenizer.json")
BOTH = f'# TYPE x counter\n{DRAFTS}{{engine="0"}} 10.0\n{ACCEPTED}{{engine="0"}} 25.0\n'


@asynccontextmanager
async def client(
    answer: Callable[[web.Request], Awaitable[web.Response]], drafts: bool = True
) -> AsyncIterator[Client]:
    """A client of a server that answers like this."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/")).rstrip("/")
        engine = Engine("eagle3", url, "key", cast("Any", None), Path("log"), drafts)
        async with Client(engine, PARAMS.pair("demo").sampling, PARAMS.infer) as made:
            yield made


def says(text: str, status: int = 200) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    return answer


async def completed(
    ask: Callable[[Client, Request], Awaitable[Completion]],
) -> tuple[Completion, list[tuple[str, dict[str, Any]]]]:
    """What `ask` makes of " so" behind "It is", and what it sent: (path, body) each."""
    sent = []
    reply = {
        "finish_reason": "stop",
        "stop_reason": "so",
        "text": " so",
        "token_ids": [7],
        "message": {"content": " so"},
    }

    async def answer(request: web.Request) -> web.Response:
        sent.append((request.path, await request.json() if request.can_read_body else {}))
        usage = {"prompt_tokens_details": {"cached_tokens": 2}}
        return web.json_response({"choices": [reply], "usage": usage})

    async with client(answer) as made:
        ids = TOKENIZER.encode("It is", add_special_tokens=False).ids
        return await ask(made, Request("large", ids, 10, ("so",))), sent


async def test_tokens_go_there_and_come_back() -> None:
    completion, sent = await completed(lambda one, request: one.complete(request, 1, "salt"))
    (path, body), ids = sent[0], TOKENIZER.encode("It is", add_special_tokens=False).ids
    assert (path, body["token_ids"], len(sent)) == ("/inference/v1/generate", ids, 1)
    assert completion == Completion([7], " so", "stop", "so", cached_tokens=2)


async def test_text_is_sent_as_a_whole_chat_after_a_look_up_of_the_model() -> None:
    completion, sent = await completed(
        lambda one, request: one.complete_text(request, 1, "salt", TOKENIZER)
    )
    assert [path for path, _ in sent] == ["/v1/models", "/v1/chat/completions"]
    assert sent[1][1]["messages"] == [{"role": "assistant", "content": "It is"}]
    ids = TOKENIZER.encode(" so", add_special_tokens=False).ids
    assert completion == Completion(ids, " so", "stop", "so", cached_tokens=2)


async def test_drafts_and_accepted_tokens_are_read_from_the_metrics() -> None:
    async with client(says(BOTH)) as made:
        assert await made.speculation() == (10, 25)


async def test_a_model_without_a_draft_head_is_not_asked() -> None:
    async with client(says("", status=404), drafts=False) as made:
        assert await made.speculation() == (0, 0)


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ('{"detail":"Not Found"}', 404, "'eagle3' has no metrics; .*log-stats"),
        ("<html>", 200, "'eagle3' has no metrics"),
        ("", 200, f"'eagle3' has no metric '{DRAFTS}'"),
    ],
)
async def test_an_engine_without_metrics_is_named(text: str, status: int, message: str) -> None:
    async with client(says(text, status)) as made:
        with pytest.raises(UserError, match=message):
            await made.speculation()
