"""Let into an engine's server only what this project asks of it, and only with the run's key.

vLLM itself asks for the key on a part of its paths; others complete text or resize the engine. The
server runs this as a middleware (`--middleware`) before all that it serves.
"""

import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

OPEN = "GET /health"
SERVED = {
    OPEN,
    "GET /metrics",
    "GET /v1/models",
    "POST /v1/chat/completions",
    "POST /inference/v1/generate",
}
BODIES = {
    HTTPStatus.UNAUTHORIZED: b'{"error":"Unauthorized"}',
    HTTPStatus.NOT_FOUND: b'{"detail":"Not Found"}',
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gate:
    """An ASGI middleware in front of the server's own."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.credentials = f"Bearer {os.environ['VLLM_API_KEY']}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        elif refusal := self.refusal(scope):
            await refuse(send, refusal)
        else:
            await self.app(scope, receive, send)

    def refusal(self, scope: Scope) -> HTTPStatus | None:
        """Return why a request is not let in; None if it is."""
        asked = f"{scope['method']} {scope['path']}"
        if asked == OPEN:
            return None
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, self.credentials):
            return HTTPStatus.UNAUTHORIZED
        return None if asked in SERVED else HTTPStatus.NOT_FOUND


async def refuse(send: Send, status: HTTPStatus) -> None:
    """Answer a request without asking the server."""
    body = BODIES[status]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
