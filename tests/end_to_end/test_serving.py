"""The server, with clients that others wrote and scripted engines behind it."""

import asyncio
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from openai.types.chat import ChatCompletion
from prometheus_client.parser import text_string_to_metric_families

from demo_pair import task
from tests.end_to_end.conftest import (
    checkout,
    few_methods,
    processes_in,
    run,
    started,
    succeed,
    until,
    wait_for_none,
)

pytestmark = pytest.mark.end_to_end

KEY = "a-key-for-tests-alone"
METHODS = ("large", "relaygen", "small_first")
PROBLEM = next(task.problems("chains_short", 1, seed=1)).prompt
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": PROBLEM}], "seed": 1}


AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


def said(content: str) -> dict[str, Any]:
    """A request with this question."""
    return {"model": "large", "messages": [{"role": "user", "content": content}]}


@dataclass(frozen=True)
class Server:
    """A server under way."""

    folder: Path
    url: str
    process: psutil.Process

    @property
    def client(self) -> openai.OpenAI:
        """A client that asks once."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0)

    def post(self, path: str, **more: Any) -> httpx.Response:
        """Send a request with the key."""
        given: dict[str, Any] = {"headers": AUTHORIZED, "timeout": 60, **more}
        return httpx.post(f"{self.url}{path}", **given)

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        reply = httpx.get(f"{self.url}/metrics", headers={"Authorization": f"Bearer {KEY}"})
        families = text_string_to_metric_families(reply.text)
        samples = [sample for family in families for sample in family.samples]
        return sum(sample.value for sample in samples if sample.name == name)

    def chat(self, model: str = "relaygen", **more: Any) -> ChatCompletion:
        """Ask for a whole answer."""
        reply: ChatCompletion = self.client.chat.completions.create(model=model, **CHAT | more)
        return reply


@contextmanager
def serving(folder: Path, *options: str, **variables: str) -> Iterator[Server]:
    """A server of a checkout, with cues from a file."""
    params = few_methods()
    params["pairs"]["demo"]["cues"] = "own.yaml"
    params["methods"]["small_first"] = {
        **{"kind": "relay", "large": "large", "small": "small", "cues": "none"},
        **{"starts": "small", "stay": {"until": "end"}, "leave": {"at": "token"}},
        "early": {"margin": 0.6},
    }
    checkout(folder, params)
    (folder / "own.yaml").write_text("[Thus, Now, 'So ']\n")
    command = ("python", "-m", "stages.runtime.main", "serve", "--pair", "demo", "--port", "0")
    with started(folder, *command, *options, RELAYGEN_API_KEY=KEY, **variables) as process:
        said = folder / "command.log"
        until(lambda: process.poll() is not None or "page:" in said.read_text(), "server", 60)
        assert process.poll() is None, said.read_text()
        url = re.search(r"http://[\d.]+:\d+", said.read_text())
        assert url
        yield Server(folder, url[0], psutil.Process(process.pid))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("serving")) as server:
        yield server


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose engines take their time; two more answers may wait."""
    folder = tmp_path_factory.mktemp("slow")
    with serving(folder, "--max-waiting", "2", SCRIPTED_PAUSE_S="0.02") as server:
        yield server


def streamed(server: Server, **more: Any) -> tuple[str, str, list[Any]]:
    """Reasoning, content and all chunks of an answer that comes in pieces."""
    stream = server.client.chat.completions.create(stream=True, **CHAT | more)
    chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    reasoning = "".join(getattr(delta, "reasoning", None) or "" for delta in deltas)
    return reasoning, "".join(delta.content or "" for delta in deltas), chunks


def test_the_methods_are_its_models(server: Server) -> None:
    assert {model.id for model in server.client.models.list()} == set(METHODS)
    assert server.client.models.retrieve("relaygen").id == "relaygen"


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_says_what_the_whole_reply_says(server: Server, method: str) -> None:
    message = server.chat(method).choices[0].message
    reasoning, content, chunks = streamed(server, model=method)
    assert (reasoning, content) == (message.reasoning, message.content)  # type: ignore[attr-defined]
    assert len(chunks) > 30


def test_reasoning_stands_apart_from_the_content(server: Server) -> None:
    message = server.chat().choices[0].message
    reasoning = message.reasoning_content  # type: ignore[attr-defined]
    assert "think>" not in reasoning + str(message.content)
    assert "\\boxed{" in str(message.content)
    assert reasoning


def test_usage_says_which_model_wrote_what(server: Server) -> None:
    usage = server.chat().usage
    assert usage
    by_model = usage.model_dump()["relaygen"]
    assert usage.completion_tokens == by_model["large_tokens"] + by_model["small_tokens"]
    assert by_model["hand_offs"] > 1
    assert 0 < usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens  # type: ignore[union-attr, operator]


def test_no_more_tokens_of_a_prompt_are_cached_than_it_has(server: Server) -> None:
    usage = server.chat().usage
    assert usage
    details = usage.model_dump()["prompt_tokens_details"]
    assert 0 <= details["cached_tokens"] <= usage.prompt_tokens


def test_a_stream_tells_usage_where_it_is_asked_to(server: Server) -> None:
    *_, last = streamed(server, model="relaygen", stream_options={"include_usage": True})[2]
    assert last.usage == server.chat().usage
    assert not any(chunk.usage for chunk in streamed(server, model="relaygen")[2])


def test_a_stream_tells_who_writes_and_at_which_cue_it_is_handed_over(server: Server) -> None:
    chunks = streamed(server, model="relaygen")[2]
    told = [chunk.relaygen for chunk in chunks if getattr(chunk, "relaygen", None)]
    assert {one["by"] for one in told} == {"large", "small"}
    assert {one["cue"] for one in told} - {None} <= {"Thus", "Now", "So "}


def test_one_seed_gives_one_answer(server: Server) -> None:
    first, again, other = (server.chat(seed=seed).choices[0].message for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_several_choices_are_several_answers(server: Server) -> None:
    reply = server.chat(n=3, temperature=1.0)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    thoughts = {choice.message.reasoning for choice in reply.choices}  # type: ignore[attr-defined]
    assert len(thoughts) > 1


def test_the_first_of_several_choices_is_the_one_that_comes_alone(server: Server) -> None:
    alone = server.chat().choices[0].message.content
    assert server.chat(n=2).choices[0].message.content == alone


def test_a_prompt_is_counted_once_however_many_choices_it_has(server: Server) -> None:
    alone, several = (server.chat(n=n).usage for n in (1, 3))
    assert alone
    assert several
    assert several.prompt_tokens == alone.prompt_tokens
    assert several.completion_tokens > alone.completion_tokens


def test_a_limit_of_tokens_is_kept_and_said(server: Server) -> None:
    reply = server.chat(max_tokens=20)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage
    assert reply.usage.completion_tokens == 20


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_ends_before_a_stop_string(server: Server, stream: bool) -> None:
    whole = str(server.chat().choices[0].message.content)
    if stream:
        content = streamed(server, model="relaygen", stop=["boxed"])[1]
    else:
        content = str(server.chat(stop="boxed").choices[0].message.content)
    assert content == whole[: whole.index("boxed")]


def test_control_tokens_that_a_user_spells_out_are_text(server: Server) -> None:
    def n_tokens(content: str) -> int:
        reply = server.chat("large", messages=[{"role": "user", "content": content}], max_tokens=1)
        assert reply.usage
        return reply.usage.prompt_tokens

    assert n_tokens("a</think>b") > n_tokens("ab") + 1


def test_a_completion_is_the_text_as_it_was_written(server: Server) -> None:
    reply = server.client.completions.create(model="large", prompt=PROBLEM, seed=1)
    text = reply.choices[0].text
    assert text.startswith("<think>")
    assert text.count("</think>") == 1
    assert "\\boxed{" in text.partition("</think>")[2]


def test_several_prompts_are_answered_in_one_reply(server: Server) -> None:
    reply = server.client.completions.create(
        model="large", prompt=[[5, 6, 7], [8, 9]], max_tokens=5, seed=1
    )
    assert [choice.index for choice in reply.choices] == [0, 1]


@pytest.mark.parametrize("path", ["/", "/metrics", "/version", "/v1/models", "/nowhere"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_nothing_but_health_is_open(server: Server, path: str, headers: dict[str, str]) -> None:
    assert httpx.get(f"{server.url}{path}", headers=headers).status_code == 401
    assert httpx.get(f"{server.url}/health", headers=headers).status_code == 200


def test_a_browser_that_brings_the_key_gets_the_page_and_a_cookie(server: Server) -> None:
    with httpx.Client(base_url=server.url, follow_redirects=True) as browser:
        reply = browser.get("/", params={"key": KEY})
        assert "<title>RelayGen</title>" in reply.text
        assert KEY not in str(reply.url)
        assert browser.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (404, {"json": {**CHAT, "model": "gpt"}}),
        (400, {"json": {**CHAT}}),
        (400, {"json": {**CHAT, "model": "large", "max_tokens": 100_000}}),
        (
            400,
            {"json": {"model": "large", "messages": [{"role": "user", "content": "a b " * 3000}]}},
        ),
        (400, {"content": b"\xff\xfe\x00"}),
        (400, {"content": b'{"model": "large"'}),
        (400, {"content": b"[" * 100_000}),
        (400, {"content": b"not gzip", "headers": {"Content-Encoding": "gzip", **AUTHORIZED}}),
        (400, {"json": {**CHAT, "model": "large", "chat_template_kwargs": {"chat_template": "x"}}}),
        (400, {"json": said("\U0010fffc9\U0010fffd")}),
        (413, {"content": b" " * (5 * 2**20)}),
    ],
)
def test_a_bad_request_is_refused_in_the_apis_form(
    server: Server, status: int, more: dict[str, Any]
) -> None:
    reply = server.post("/v1/chat/completions", **more)
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/chat/completions", 405), ("POST", "/v1/embeddings", 404)],
)
def test_what_is_not_served_is_refused_in_the_apis_form(
    server: Server, method: str, path: str, status: int
) -> None:
    reply = httpx.request(method, f"{server.url}{path}", headers={"Authorization": f"Bearer {KEY}"})
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


def test_a_prompt_far_too_long_is_refused_before_it_is_read(server: Server) -> None:
    begun = time.monotonic()
    reply = server.post("/v1/chat/completions", json=said("a" * 4_000_000))
    assert (reply.status_code, time.monotonic() - begun < 2) == (400, True)
    assert reply.json()["error"]["code"] == "context_length_exceeded"


def test_many_at_once_are_all_answered(server: Server) -> None:
    async def ask_all() -> list[str | None]:
        client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0)
        asked = (
            client.chat.completions.create(model=METHODS[n % 2], **CHAT | {"seed": n})
            for n in range(40)
        )
        return [reply.choices[0].finish_reason for reply in await asyncio.gather(*asked)]

    assert set(asyncio.run(ask_all())) == {"stop"}


def test_one_answer_is_printed_with_who_wrote_it(server: Server) -> None:
    ask = ("python", "-m", "stages.runtime.main", "ask", PROBLEM, "--url", server.url)
    printed = succeed(server.folder, *ask, RELAYGEN_API_KEY=KEY)
    assert "\\boxed{" in printed
    assert re.search(r"\d+ tokens, \d+ % by the large model, \d+ hand-offs$", printed.strip())


def test_a_question_to_what_is_no_address_is_one_line(server: Server) -> None:
    ask = ("python", "-m", "stages.runtime.main", "ask", PROBLEM, "--url", "127.0.0.1:8000")
    said = run(server.folder, *ask, RELAYGEN_API_KEY=KEY)
    assert said.stderr == (
        "error: --url 127.0.0.1:8000: not an address such as http://127.0.0.1:8000\n"
    )


def test_a_question_without_the_key_is_one_line(server: Server) -> None:
    ask = ("python", "-m", "stages.runtime.main", "ask", PROBLEM, "--url", server.url)
    said = run(server.folder, *ask, RELAYGEN_API_KEY="")
    assert said.returncode == 1
    assert said.stderr.startswith("error: ")
    assert len(said.stderr.splitlines()) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_whose_client_has_left_ends(slow: Server, stream: bool) -> None:
    body = json.dumps({**CHAT, "model": "relaygen", "stream": stream}).encode()
    host, port = slow.url.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\n"
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: slow.metric("relaygen_running") == 1, "an answer", 10)
        time.sleep(0.5)
    begun = time.monotonic()
    until(lambda: slow.metric("relaygen_running") == 0, "end of the answer", 10)
    assert time.monotonic() - begun < 1


def test_more_answers_than_may_wait_are_refused_until_there_is_room(slow: Server) -> None:
    async def ask_all() -> list[Any]:
        client = openai.AsyncOpenAI(base_url=f"{slow.url}/v1", api_key=KEY, max_retries=0)
        asked = (
            client.chat.completions.create(model="large", **CHAT | {"seed": n}) for n in range(6)
        )
        return await asyncio.gather(*asked, return_exceptions=True)

    replies = asyncio.run(ask_all())
    refused = [reply for reply in replies if isinstance(reply, openai.RateLimitError)]
    assert len(refused) == 3, "one is written, two wait"
    assert refused[0].response.headers["Retry-After"]


def test_an_engine_that_dies_ends_its_answers_and_comes_back(slow: Server) -> None:
    stream = slow.client.chat.completions.create(model="large", stream=True, **CHAT)
    next(iter(stream))
    engine_of(slow, "large").kill()
    with pytest.raises(openai.APIError, match="engine 'large'"):
        list(stream)
    with pytest.raises(openai.InternalServerError) as refused:
        until(lambda: slow.chat("large", max_tokens=5) is None, "a refusal", 20)
    assert refused.value.status_code == 503
    assert refused.value.response.headers["Retry-After"]
    until(lambda: httpx.get(f"{slow.url}/health").status_code == 200, "the engine again", 60)
    assert slow.chat("large", max_tokens=5).choices


def engine_of(server: Server, role: str) -> psutil.Process:
    """The process of an engine."""
    children = server.process.children(recursive=True)
    return next(one for one in children if f"demo_pair/{role}" in one.cmdline())


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_server_that_is_ended_leaves_nothing(tmp_path: Path, sign: signal.Signals) -> None:
    with serving(tmp_path) as server:
        server.process.send_signal(sign)
        server.process.wait(20)
        assert wait_for_none(lambda: processes_in(tmp_path), 20) == []
