"""Send requests to one vLLM server, as token ids, over kept-alive connections.

Answers are keyed by this module's import closure: types alone are imported from the rest.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from math import exp
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import orjson
from prometheus_client.parser import text_string_to_metric_families

from stages.engine.spec import KEEP_ALIVE_S, MODEL_NAME
from stages.methods.base import Completion, Request
from stages.runtime.errors import UserError

if TYPE_CHECKING:
    from types import TracebackType

    from tokenizers import Tokenizer

    from stages.config.schema import Infer, Sampling
    from stages.engine.server import Engine

DRAFTS = "vllm:spec_decode_num_drafts_total"
ACCEPTED = "vllm:spec_decode_num_accepted_tokens_total"
log = logging.getLogger(__name__)


class RequestFailedError(Exception):
    """A request failed after all retries; nothing is recorded for it."""


class Client:
    """A client of one engine; use as an async context manager."""

    def __init__(self, engine: Engine, sampling: Sampling | None, infer: Infer) -> None:
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
        depend on earlier ones. Raises UserError if the server refuses the request or has died,
        RequestFailedError after the last retry.
        """
        body = {
            "model": MODEL_NAME,
            "token_ids": request.prompt_ids,
            "output_mode": "text",  # in addition to the ids
            "cache_salt": salt,
            "sampling_params": self._sampling(request, seed),
        }
        reply = await self._ask("POST", "/inference/v1/generate", body)
        choice = reply["choices"][0]
        return completion(reply, choice["text"], choice["token_ids"])

    async def complete_text(
        self, request: Request, seed: int, salt: str, tokenizer: Tokenizer
    ) -> Completion:
        """Continue `request.prompt_ids` as the released client does: as a chat message of text.

        The server renders and tokenizes the whole chat again, and the client looks up the model
        before every request. The result's `token_ids` are those of the returned text.
        """
        await self._ask("GET", "/v1/models")
        text = tokenizer.decode(request.prompt_ids, skip_special_tokens=False)
        body = {
            "model": MODEL_NAME,
            "messages": [{"role": "assistant", "content": text}],
            "add_generation_prompt": False,
            "continue_final_message": True,
            "cache_salt": salt,
            **self._sampling(request, seed),
        }
        reply = await self._ask("POST", "/v1/chat/completions", body)
        written = reply["choices"][0]["message"]["content"]
        ids = tokenizer.encode(written, add_special_tokens=False).ids
        return completion(reply, written, ids)

    def _sampling(self, request: Request, seed: int) -> dict[str, Any]:
        """Return the request's sampling parameters."""
        return {
            "max_tokens": request.max_tokens,
            "stop": request.stop,
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
            "seed": seed,
            **(self.sampling.model_dump() if self.sampling else {}),
        }

    async def margins(self, token_ids: list[int]) -> list[float | None]:
        """Return p(top-1) - p(top-2) of the distribution that predicts each token; None first.

        The probabilities are at temperature 1 (paper section 3.1).
        """
        # Detokenizing every returned token would take the server longer than reading the prompt.
        sampling = {"max_tokens": 1, "prompt_logprobs": 2, "detokenize": False}
        body = {"model": MODEL_NAME, "token_ids": token_ids, "sampling_params": sampling}
        return margins_in(await self._ask("POST", "/inference/v1/generate", body))

    async def speculation(self) -> tuple[int, int]:
        """Return (drafts, accepted tokens) since the engine started; zeros without a draft head."""
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
        self, verb: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send a request, with retries; see `complete` for the errors."""
        data = orjson.dumps(body) if body else None
        for attempt in range(self.infer.retries + 1):
            if attempt:
                await asyncio.sleep(0.5 * 2**attempt)
            try:
                async with self.http.request(verb, path, data=data) as response:
                    content = await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                failure = f"{type(error).__name__} {error}"
            else:
                if response.ok:
                    reply: dict[str, Any] = orjson.loads(content)
                    return reply
                failure = f"{response.status} {content.decode(errors='replace')[:300]}"
                if response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise UserError(f"engine '{self.engine.role}' refused a request: {failure}")
            log.warning("engine '%s': %s", self.engine.role, failure)
            if not self.engine.alive:
                raise UserError(
                    f"engine '{self.engine.role}' died (exit code "
                    f"{self.engine.process.returncode}); see {self.engine.log_file}. "
                    "Finished answers are kept: run again to go on"
                )
        raise RequestFailedError(f"engine '{self.engine.role}': {failure}")


def completion(reply: dict[str, Any], text: str, token_ids: list[int]) -> Completion:
    """Return a reply as a completion."""
    choice = reply["choices"][0]
    # A stop token (an int) or none at all: the model ended the text itself.
    stop = choice["stop_reason"] if isinstance(choice["stop_reason"], str) else None
    cached = (reply["usage"].get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Completion(token_ids, text, choice["finish_reason"], stop, cached)


def margins_in(reply: dict[str, Any]) -> list[float | None]:
    """Return the margins of a prompt from the server's reply."""
    return [margin(position) for position in reply["prompt_logprobs"]]


def margin(position: dict[str, dict[str, Any]] | None) -> float | None:
    """Return p(top-1) - p(top-2) from one entry of `prompt_logprobs`; None without one."""
    if position is None:
        return None
    by_rank = {entry["rank"]: entry["logprob"] for entry in position.values()}
    return exp(by_rank[1]) - exp(by_rank[2])
