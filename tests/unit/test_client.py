"""What is sent to an engine, what is asked again, and what it reports about its draft head."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tokenizers import Tokenizer

from stages.config.params import load
from stages.engine.client import (
    ACCEPTED,
    DRAFTS,
    Client,
    RequestFailedError,
    RequestRefusedError,
    pause_in,
)
from stages.engine.server import Engine
from stages.methods.base import Completion, Request, Route
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))
TOKENIZER = Tokenizer.from_file("demo_pair/large/tokenizer.json")
BOTH = f'# TYPE x counter\n{DRAFTS}{{engine="0"}} 10.0\n{ACCEPTED}{{engine="0"}} 25.0\n'


class Process:
    """A server's process; `returncode`: None as long as it runs."""

    def __init__(self, returncode: int | None = None) -> None:
        self.returncode = returncode

    def poll(self) -> int | None:
        return self.returncode


@asynccontextmanager
async def client(
    answer: Callable[[web.Request], Awaitable[web.Response]],
    drafts: bool = True,
    process: Process | None = None,
    routers: tuple[str, ...] = (),
    **infer: Any,
) -> AsyncIterator[Client]:
    """A client of a server that answers like this."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/")).rstrip("/")
        running = cast("Any", process or Process())
        engine = Engine("eagle3", url, "key", running, Path(os.devnull), drafts, routers)
        how = PARAMS.infer.model_copy(update=infer)
        async with Client(engine, PARAMS.pair("demo").sampling, how) as made:
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


@pytest.mark.parametrize(("n", "asked"), [(0, {}), (3, {"logprobs": 3})])
async def test_probabilities_are_asked_for_only_where_they_are_needed(
    n: int, asked: dict[str, int]
) -> None:
    async with client(says("")) as made:
        body = made.body(Request("small", [5], 10, ("so",), logprobs=n), 1, "salt")
    sent = body["sampling_params"]
    assert {name: value for name, value in sent.items() if "logprobs" in name} == asked


async def test_text_is_sent_as_a_whole_chat_after_a_look_up_of_the_model() -> None:
    completion, sent = await completed(
        lambda one, request: one.complete_text(request, 1, "salt", TOKENIZER)
    )
    assert [path for path, _ in sent] == ["/v1/models", "/v1/chat/completions"]
    assert sent[1][1]["messages"] == [{"role": "assistant", "content": "It is"}]
    ids = TOKENIZER.encode(" so", add_special_tokens=False).ids
    assert completion == Completion(ids, " so", "stop", "so", cached_tokens=2)


async def test_a_routed_request_stops_at_its_mark_which_is_no_part_of_the_completion() -> None:
    route, sent = Route("entropy", 0.4, mark=7), []
    choice = {"finish_reason": "stop", "stop_reason": 7, "text": " so", "token_ids": [5, 7]}

    async def answer(request: web.Request) -> web.Response:
        sent.append((await request.json())["sampling_params"])
        return web.json_response({"choices": [choice], "usage": {}})

    async with client(answer, routers=("entropy",)) as made:
        completion = await made.complete(Request("small", [1, 2], 10, route=route), 1, "salt")
    assert completion == Completion([5], " so", "stop", routed=True)
    assert sent[0]["stop_token_ids"] == [7]
    assert sent[0]["extra_args"] == {"route": {"router": "entropy", "threshold": 0.4, "mark": 7}}


async def test_an_engine_without_the_router_is_not_asked_to_route() -> None:
    async with client(says("never asked"), routers=("entropy",)) as made:
        with pytest.raises(UserError, match="without the router 'net': it would route no token"):
            await made.complete(Request("small", [1], 10, route=Route("net", 0.4, 7)), 1, "salt")


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


GOOD: dict[str, Any] = {
    "choices": [{"finish_reason": "stop", "stop_reason": None, "text": " so", "token_ids": [7]}],
    "usage": {},
}
REQUEST = Request("large", [1, 2], 10)


class Scripted:
    """Answers with these replies in turn, the last one for ever; counts the requests."""

    def __init__(self, *replies: web.Response | dict[str, Any]) -> None:
        self.replies, self.asked = replies, 0

    async def answer(self, _: web.Request) -> web.Response:
        reply = self.replies[min(self.asked, len(self.replies) - 1)]
        self.asked += 1
        if isinstance(reply, dict):
            return web.json_response(reply)
        return web.Response(text=reply.text, status=reply.status, headers=reply.headers.copy())


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client waited before it asked again, without waiting."""
    waited: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waited.extend([seconds] if seconds else [])
        await real_sleep(0)

    monkeypatch.setattr("stages.engine.client.asyncio.sleep", sleep)
    return waited


def broken_off(reason: str | None) -> dict[str, Any]:
    return {**GOOD, "choices": [GOOD["choices"][0] | {"finish_reason": reason}]}


@pytest.mark.parametrize(
    "bad",
    [
        broken_off("abort"),
        broken_off(None),
        {"choices": []},
        web.Response(text="<html>"),
        web.Response(text="out of memory", status=500),
        web.Response(text="", status=302, headers={"Location": "/elsewhere"}),
        web.Response(text="busy", status=429),
        web.Response(text="too slow", status=408),
    ],
)
async def test_a_bad_reply_is_asked_again_and_then_a_failed_request(
    bad: Any, pauses: list[float]
) -> None:
    better, worse = Scripted(bad, GOOD), Scripted(bad)
    async with client(better.answer, retries=2) as made:
        assert (await made.complete(REQUEST, 1, "salt")).text == " so"
    async with client(worse.answer, retries=2) as made:
        with pytest.raises(RequestFailedError, match="engine 'eagle3': ") as caught:
            await made.complete(REQUEST, 1, "salt")
    assert (better.asked, worse.asked) == (2, 3)
    assert pauses == [1, 1, 2]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
async def test_a_refused_request_is_not_asked_again(status: int) -> None:
    server = Scripted(web.Response(text='{"error": "out of vocabulary"}', status=status))
    async with client(server.answer, retries=2) as made:
        with pytest.raises(
            RequestRefusedError, match=f"'eagle3' refused a request: {status} .*out of vocabulary"
        ):
            await made.complete(REQUEST, 1, "salt")
    assert server.asked == 1


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [("7", 7.0), ("0", 0.0), ("", 0.0), ("86400", 60.0), ("-1", 0.0),
     ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)],
)  # fmt: skip
def test_a_server_may_ask_for_a_pause(retry_after: str, pause: float) -> None:
    assert pause_in(retry_after) == pause


async def test_the_pause_that_a_server_asks_for_is_kept(pauses: list[float]) -> None:
    busy = web.Response(text="busy", status=429, headers={"Retry-After": "7"})
    async with client(Scripted(busy, busy, GOOD).answer, retries=2) as made:
        await made.complete(REQUEST, 1, "salt")
    assert pauses == [7, 7]


async def test_a_time_out_names_its_key() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async with client(answer, retries=0, request_timeout_s=0.05) as made:
        with pytest.raises(
            RequestFailedError, match=r"no reply in 0\.05 s \(infer\.request_timeout_s\)"
        ):
            await made.complete(REQUEST, 1, "salt")


async def test_the_environments_proxies_do_not_concern_a_server_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    async with client(Scripted(GOOD).answer, retries=0) as made:
        assert (await made.complete(REQUEST, 1, "salt")).text == " so"


async def test_a_dead_server_is_not_asked_again() -> None:
    server = Scripted(web.Response(status=500))
    message = r"'eagle3' serves no more \(exit code -9\); see /dev/null\. Finished"
    async with client(server.answer, process=Process(returncode=-9), retries=5) as made:
        with pytest.raises(UserError, match=message):
            await made.complete(REQUEST, 1, "salt")
    assert server.asked == 1


async def test_margins_without_a_position_are_a_failed_request() -> None:
    async with client(Scripted({"prompt_logprobs": [None]}).answer, retries=0) as made:
        with pytest.raises(RequestFailedError, match="of 1 tokens, the prompt has 2"):
            await made.margins([1, 2])
