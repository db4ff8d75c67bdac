"""Who may ask an engine for what."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from stages.engine.gate import SERVED, Gate

pytestmark = pytest.mark.unit
KEY = [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer secret")]
Said = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")


async def asked(method: str, path: str, headers: Any = (), kind: str = "http") -> Said:
    """What is said to a request; by the server itself: its path."""
    said: Said = []

    async def send(message: Any) -> None:
        said.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "let in", "path": scope.get("path")})

    scope = {"type": kind, "method": method, "path": path, "headers": list(headers)}
    await Gate(app)(scope, None, send)  # type: ignore[arg-type]
    return said


def let_in(said: Said) -> bool:
    return bool(said[0]["type"] == "let in")


def routes() -> Iterator[tuple[str, str]]:
    for one in SERVED:
        method, path = one.split(" ")
        yield method, path


@pytest.mark.parametrize(("method", "path"), sorted(routes()))
async def test_what_is_needed_is_served_with_the_key(method: str, path: str) -> None:
    assert let_in(await asked(method, path, KEY))


@pytest.mark.parametrize(
    "given",
    [None, b"", b"Bearer", b"secret", b"Bearer secre", b"bearer secret", b"Bearer secret ",
     "Bearer s\u00e9cret".encode()],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/metrics", "/v1/models", "/invocations", "/docs", "/health/"])
async def test_without_the_key_nothing_is(path: str, given: bytes | None) -> None:
    headers = [] if given is None else [(b"authorization", given)]
    start, body = await asked("GET", path, headers)
    assert (start["status"], body["body"]) == (401, b'{"error":"Unauthorized"}')


async def test_the_health_check_needs_no_key() -> None:
    assert let_in(await asked("GET", "/health"))
    assert (await asked("POST", "/health"))[0]["status"] == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/invocations"), ("POST", "/tokenize"), ("POST", "/scale_elastic_ep"),
     ("GET", "/openapi.json"), ("GET", "/metrics/"), ("POST", "/v1/completions"),
     ("OPTIONS", "/v1/models"), ("DELETE", "/v1/models")],
)  # fmt: skip
async def test_all_else_is_not_there(method: str, path: str) -> None:
    assert (await asked(method, path, KEY))[0]["status"] == 404


async def test_no_web_socket_is_opened() -> None:
    said = await asked("GET", "/v1/realtime", KEY, kind="websocket")
    assert said == [{"type": "websocket.close"}]


async def test_the_server_starts_and_stops() -> None:
    assert let_in(await asked("", "", kind="lifespan"))


def test_a_server_without_a_key_serves_nothing() -> None:
    del os.environ["VLLM_API_KEY"]
    with pytest.raises(KeyError):
        Gate(None)  # type: ignore[arg-type]
