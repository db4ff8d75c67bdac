"""vLLM's server without a model: its command line, paths and replies, as far as they are used.

tests/integration/test_scripted.py compares its replies with those of the real server.
"""

import argparse
import asyncio
import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from threading import Thread
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web
from prometheus_client import generate_latest

from tests.scripted.engine import DEFAULTS, Engine, Json, RefusedError, Text

PAUSE_S = float(os.environ.get("SCRIPTED_PAUSE_S", "0"))
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OPEN = "/health"
WATCHDOG_S = 5.0


def options() -> argparse.Namespace:
    """The arguments that matter here; the real server's others are let pass."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-model-len", type=int, required=True)
    parser.add_argument("--speculative-config", type=json.loads, default={})
    return parser.parse_known_args()[0]


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who has the key, and put errors in the server's own words."""
    key = f"Bearer {os.environ.get('VLLM_API_KEY')}"
    if request.path != OPEN and request.headers.get("Authorization") != key:
        return reply({"error": "Unauthorized"}, HTTPStatus.UNAUTHORIZED)
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return reply({"detail": "Not Found"}, HTTPStatus.NOT_FOUND)
    except RefusedError as error:
        return reply(error.body, error.status)


class Api:
    """The paths of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def routes(self) -> list[web.RouteDef]:
        """What the pipeline asks for."""
        return [
            web.get("/health", self.health),
            web.get("/metrics", self.metrics),
            web.get("/v1/models", self.models),
            web.post("/v1/chat/completions", self.chat),
            web.post("/inference/v1/generate", self.generate),
        ]

    async def health(self, _: web.Request) -> web.Response:
        """Nothing, while the engine runs."""
        alive = self.engine.core.poll() is None
        return web.Response(status=HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics(self, _: web.Request) -> web.Response:
        """Counts in Prometheus' text format."""
        return web.Response(body=generate_latest(self.engine.counts.registry))

    async def models(self, _: web.Request) -> web.Response:
        """The one model."""
        permission = {
            "id": f"modelperm-{uuid4().hex[:16]}",
            "object": "model_permission",
            "created": now(),
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        model = {
            "id": self.engine.name,
            "object": "model",
            "created": now(),
            "owned_by": "vllm",
            "root": self.engine.model,
            "parent": None,
            "max_model_len": self.engine.max_model_len,
            "permission": [permission],
        }
        return reply({"object": "list", "data": [model]})

    def drafted(self, text: Text) -> Json | None:
        """What an engine that drafts says of a text: all but one token of each step are accepted.

        The real server says nothing of one that ends at a stop string.
        """
        step, n = self.engine.drafts_tokens, len(text.token_ids)
        if not step or isinstance(text.stop, str):
            return None
        sizes = [min(step, n - at) for at in range(0, n, step)]
        return {"speculative_decoding": {"per_step_accepted": [size - 1 for size in sizes]}}

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """Token ids there and back."""
        body = await self.body(request)
        sampling = {**DEFAULTS, **body["sampling_params"]}
        mode = body.get("output_mode", "tokens")
        ids: list[int] = body["token_ids"]
        text, cached = await self.engine.write(ids, sampling, body.get("cache_salt"))
        asked = sampling["logprobs"]
        logprobs = self.engine.written_logprobs(ids, text, asked) if asked else None
        if body.get("stream"):
            used = usage(len(ids), text, cached, created=None)
            return await self.stream(request, text, used, logprobs)
        n = sampling["prompt_logprobs"]
        choice = {
            "index": 0,
            "finish_reason": text.finish_reason,
            "stop_reason": text.stop,
            "token_ids": text.token_ids,
            "routed_experts": None,
            "sampling_mask": None,
            "weight_versions": [{"version": "default", "start": 0, "end": len(text.token_ids)}],
            "logprobs": logprobs,
        }
        content = {
            "request_id": f"generate-tokens-{uuid4().hex[:16]}",
            "model": self.engine.name,
            "created": now(),
            "usage": usage(len(ids), text, cached, created=None),
            "prompt_logprobs": self.engine.logprobs(ids, n, sampling["detokenize"]) if n else None,
            "prompt_token_id_logprobs": None,
            "prompt_token_ids": None,
            "mm_placeholders": None,
            "metrics": self.drafted(text),
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "output_mode": mode,
            "choices": [choice | ({"text": text.text} if mode == "text" else {})],
        }
        await asyncio.sleep(PAUSE_S * len(text.token_ids))
        return reply(content)

    async def stream(
        self, request: web.Request, text: Text, usage: Json, logprobs: Json | None
    ) -> web.StreamResponse:
        """Token ids there and back, an event for each token, or for as many as are drafted."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        name = f"generate-tokens-{uuid4().hex[:16]}"
        begun, step = 0, self.engine.drafts_tokens or 1
        for at in range(0, len(text.token_ids), step):
            ids = text.token_ids[at : at + step]
            last = at + step >= len(text.token_ids)
            end = len(text.text) if last else begun + sum(len(self.engine.pieces[i]) for i in ids)
            choice: Json = {
                "index": 0,
                "finish_reason": text.finish_reason if last else None,
                "stop_reason": text.stop if last else None,
                "token_ids": ids,
                "routed_experts": None,
                "sampling_mask": None,
                "weight_versions": None,
                "text": text.text[begun:end],
                "logprobs": logprobs and {"content": logprobs["content"][at : at + step]},
            }
            if last:
                version = {"version": "default", "start": 0, "end": len(text.token_ids)}
                choice["weight_versions"] = [version]
            begun = end
            await event(
                response,
                {"request_id": name, "usage": None, "output_mode": "text", "choices": [choice]},
            )
            await asyncio.sleep(PAUSE_S)
        await event(
            response, {"request_id": name, "usage": usage, "output_mode": "text", "choices": []}
        )
        await response.write(b"data: [DONE]\n\n")
        return response

    async def chat(self, request: web.Request) -> web.Response:
        """A chat of one message, which the server continues as it stands."""
        body = await self.body(request)
        chat: str = body["messages"][0]["content"]
        ids = self.engine.tokenizer.encode(chat, add_special_tokens=False).ids
        text, cached = await self.engine.write(ids, {**DEFAULTS, **body}, body.get("cache_salt"))
        message = {
            "role": "assistant",
            "content": text.text,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "reasoning": None,
        }
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": text.finish_reason,
            "stop_reason": text.stop,
            "token_ids": None,
            "routed_experts": None,
        }
        content = {
            "id": f"chatcmpl-{uuid4().hex[:16]}",
            "object": "chat.completion",
            "created": now(),
            "model": self.engine.name,
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": "scripted",
            "usage": usage(len(ids), text, cached, created=0),
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "prompt_text": None,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }
        return reply(content)

    async def body(self, request: web.Request) -> Json:
        """A request's JSON, asked of the model that is served."""
        body: Json = await request.json()
        if (model := body.get("model", self.engine.name)) != self.engine.name:
            message = f"The model `{model}` does not exist. Valid aliases: {self.engine.name}."
            raise RefusedError(404, "NotFoundError", message, "model")
        return body


def reply(content: Json, status: int = HTTPStatus.OK) -> web.Response:
    """What the server says."""
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")


def usage(n_prompt: int, text: Text, cached: int, created: int | None) -> Json:
    """How many tokens a reply took."""
    details = {"cached_tokens": cached, "created_cache_tokens": created, "multimodal_tokens": None}
    return {
        "prompt_tokens": n_prompt,
        "total_tokens": n_prompt + len(text.token_ids),
        "completion_tokens": len(text.token_ids),
        "prompt_tokens_details": details,
        "completion_tokens_details": None,
    }


async def event(response: web.StreamResponse, content: Json) -> None:
    """Send one event of a stream."""
    await response.write(b"data: " + orjson.dumps(content) + b"\n\n")


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def end_after(core: subprocess.Popen[bytes]) -> None:
    """End this process some seconds after its core, as the real server's watchdog does."""
    core.wait()
    time.sleep(WATCHDOG_S)
    os._exit(1)


def main() -> None:
    """Serve until SIGTERM, or until the core has ended."""
    args = options()
    drafts: Any = args.speculative_config.get("num_speculative_tokens")
    engine = Engine(args.model, args.served_model_name, args.max_model_len, drafts)
    Thread(target=end_after, args=[engine.core], daemon=True).start()
    app = web.Application(middlewares=[guard], client_max_size=2**26)
    app.add_routes(Api(engine).routes())
    if "RELAYGEN_ROUTERS" in os.environ:
        print("Tokens can be routed by:", os.environ["RELAYGEN_ROUTERS"])
    print(f"scripted server of {args.model} on {args.host}:{args.port}", flush=True)
    web.run_app(app, host=args.host, port=args.port, print=None, shutdown_timeout=0.1)
