"""What is asked of vLLM servers that run already; replies as vLLM 0.32 gives them."""

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest

from stages.engine.client import GENERATE
from stages.runtime.errors import UserError
from stages.serving.elsewhere import (
    COMPLETIONS,
    CompletionsClient,
    Elsewhere,
    IdsClient,
    Needs,
    Probe,
)
from tests.conftest import TOKENIZER

SERVER = Elsewhere("small", "http://node:8001", "a key")
NEEDS = Needs(TOKENIZER, 2048, 20)
DISABLED = {
    "error": {
        "message": "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out "
        "to enable them.",
        "type": "PermissionDeniedError",
        "param": None,
        "code": 403,
    }
}
TOO_MANY = {
    "error": {
        "message": "1 validation error:\n  {'type': 'too_long', 'loc': 'body.stop', 'msg': "
        "'List should have at most 4 items after validation, not 20'}",
        "type": "Bad Request",
        "param": "body.stop",
        "code": 400,
    }
}
Answer = Callable[[httpx.Request], httpx.Response]


def server(
    *,
    ids_call: bool = False,
    most_stops: int = 128,
    length: int | None = 2048,
    token_ids: bool = True,
    tokenizes: bool = True,
    shift: int = 0,
) -> Answer:
    """A server; `shift`: by which its token ids differ."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content or b"{}")
        match request.url.path:
            case "/v1/models":
                return httpx.Response(200, json={"data": [{"id": "m", "max_model_len": length}]})
            case "/tokenize":
                ids = TOKENIZER.encode(body["prompt"], add_special_tokens=False).ids
                moved = {"tokens": [one + shift for one in ids]}
                return httpx.Response(200, json=moved) if tokenizes else httpx.Response(404)
            case path if path == GENERATE and not ids_call:
                return httpx.Response(403, json=DISABLED)
        stops = body.get("stop") or body.get("sampling_params", {}).get("stop") or []
        if len(stops) > most_stops:
            return httpx.Response(400, json=TOO_MANY)
        choice = {"text": " step", "token_ids": [272] if token_ids else None}
        return httpx.Response(200, json={"choices": [choice]})

    return answer


def found(answer: Answer) -> tuple[str, type]:
    """What a probe finds."""

    async def probe() -> tuple[str, type]:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(base_url=SERVER.url, transport=transport) as http:
            return await Probe(http, SERVER, NEEDS).found()

    return asyncio.run(probe())


def test_a_server_with_the_call_for_token_ids_is_asked_by_it() -> None:
    assert found(server(ids_call=True)) == ("m", IdsClient)


def test_a_server_without_it_is_asked_by_completions() -> None:
    assert found(server()) == ("m", CompletionsClient)


def test_a_server_that_does_not_tokenize_is_taken_at_its_word() -> None:
    assert found(server(tokenizes=False)) == ("m", CompletionsClient)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (server(ids_call=True, most_stops=4), "VLLM_MAX_STOP_STRINGS=128"),
        (server(most_stops=4), "20 stop strings"),
        (server(length=1024), "its context is 1024 tokens, the pair's max_model_len is 2048"),
        (server(token_ids=False), f"{COMPLETIONS} returns no token ids"),
        (server(shift=1), "not a model of this pair"),
        (lambda _: httpx.Response(401, json={"error": "Unauthorized"}), "RELAYGEN_SMALL_KEY"),
        (lambda _: httpx.Response(200, text="<html>"), "it lists no model"),
        (lambda _: httpx.Response(200, json={"data": []}), "it lists no model"),
    ],
)
def test_what_a_server_lacks_is_one_line_that_names_it(answer: Answer, message: str) -> None:
    with pytest.raises(UserError) as raised:
        found(answer)
    line = str(raised.value)
    assert line.startswith("--small-url http://node:8001: ")
    assert message in line
    assert "\n" not in line
