"""The server's answers on real engines: those of the pipeline, and gone with their client."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import polars as pl
import pytest

from stages.config.schema import Params
from stages.config.selection import with_defaults
from stages.engine.client import Client
from stages.engine.server import Engine
from stages.generation.answering import Answering, Task
from stages.serving.metrics import Metrics
from stages.serving.service import Ended, Room, Served, Service, Wanted
from stages.serving.supervisor import Supervised
from stages.serving.visible import Piece
from tests.conftest import TOKENIZER

pytestmark = pytest.mark.integration

CUES = ("So ", "So,", "Thus", "Therefore,", "Hence,", "Now", "Next,", "Then,")
SEED = 7


def served(params: Params, name: str) -> Served:
    """A method of the bundled pair."""
    pair, method = params.pair("demo"), with_defaults(params, "demo", name)
    cues = CUES if name.startswith("relay") else ()
    answering = Answering(SEED, pair.budget, method, cues, TOKENIZER, pair.family.marks)
    return Served(name, answering, pair.sampling, pair.max_model_len, pair.family)


@asynccontextmanager
async def service(params: Params, engines: Mapping[str, Engine]) -> AsyncIterator[Service]:
    """Methods on engines that run already."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        kept = {}
        for role, engine in engines.items():
            one = Supervised(
                cast(Any, SimpleNamespace(role=role)),
                None,
                params.engines,
                params.infer,
                Path(),
                metrics,
            )
            one.client = await stack.enter_async_context(Client(engine, None, params.infer))
            kept[role] = one
        methods = {name: served(params, name) for name in ("small", "relaygen", "spec_think")}
        yield Service(methods, None, kept, Room(4, 4, metrics), metrics)


def wanted(one: Served, prompt_ids: list[int], streamed: bool = True) -> Wanted:
    """One answer, as the pair samples."""
    return Wanted(one, prompt_ids, None, {}, [], SEED, streamed=streamed)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("name", ["small", "relaygen", "spec_think"])
def test_an_answer_is_the_pipelines(
    params: Params,
    engines: Mapping[str, Engine],
    few_problems: pl.DataFrame,
    name: str,
    streamed: bool,
) -> None:
    async def both(prompt: list[int]) -> tuple[str, dict[str, Any], str, Ended]:
        async with service(params, engines) as here, AsyncExitStack() as stack:
            clients = {
                role: await stack.enter_async_context(
                    Client(engine, params.pair("demo").sampling, params.infer)
                )
                for role, engine in engines.items()
            }
            one = here.served[name]
            row = await one.answering.answer(Task(prompt, 0), clients)
            asked = wanted(one, prompt, streamed)
            items = [item async for _, item in here.pieces([asked])]
        pieces = [item for item in items if isinstance(item, Piece)]
        text = "".join(piece.text for piece in pieces)
        content = "".join(piece.text for piece in pieces if piece.kind == "content")
        (end,) = (item for item in items if isinstance(item, Ended))
        return text, row, content, end

    for prompt in few_problems["prompt_ids"].to_list():
        text, row, content, end = asyncio.run(both(prompt))
        ids = row["token_ids"][:-1] if row["finish_reason"] == "stop" else row["token_ids"]
        assert text == TOKENIZER.decode(ids, skip_special_tokens=False)
        assert content == row["answer_text"]
        assert end.finish_reason == row["finish_reason"]
        assert end.tokens == {"large": row["large_tokens"], "small": row["small_tokens"]}
        assert end.hand_offs == row["n_switches"]


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_that_is_left_ends_in_both_engines_within_a_second(
    params: Params, engines: Mapping[str, Engine], few_problems: pl.DataFrame, streamed: bool
) -> None:
    async def left() -> float:
        async with service(params, engines) as here:
            prompt = few_problems["prompt_ids"][0].to_list()
            pieces = here.pieces([wanted(here.served["relaygen"], prompt, streamed)])
            for _ in range(60 if streamed else 6):  # into the midst of the hand-offs
                await anext(pieces)
            await pieces.aclose()
            return await seconds_until_idle(engines)

    assert asyncio.run(left()) < 1


async def seconds_until_idle(engines: Mapping[str, Engine]) -> float:
    """How long engines still run requests."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with aiohttp.ClientSession() as http:
        for engine in engines.values():
            headers = {"Authorization": f"Bearer {engine.key}"}
            while loop.time() - begun < 10:
                async with http.get(f"{engine.url}/metrics", headers=headers) as reply:
                    text = await reply.text()
                running = [
                    float(line.rsplit(" ", 1)[1])
                    for line in text.splitlines()
                    if line.startswith("vllm:num_requests_running")
                ]
                if sum(running) == 0:
                    break
                await asyncio.sleep(0.05)
    return loop.time() - begun
