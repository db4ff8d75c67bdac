"""Speculative decoding by the bundled head, the small model and the text: it changes no token."""

import asyncio
from collections.abc import Mapping

import polars as pl
import pytest

from stages.analysis.speedup import acceptance_length
from stages.config.schema import Params
from stages.engine.client import Client
from stages.engine.server import Engine
from stages.generation.asking import connected
from stages.methods.base import Request
from tests.integration.conftest import problems

pytestmark = pytest.mark.integration

TOKENS = 100
PROBLEMS = 50


async def greedy(client: Client, prompts: pl.DataFrame) -> list[list[int]]:
    """Each problem's first tokens, some problems at a time."""
    limit = asyncio.Semaphore(4)

    async def one(ids: list[int]) -> list[int]:
        async with limit:
            return (await client.complete(Request("", ids, TOKENS), seed=1, salt="a")).token_ids

    return await asyncio.gather(*map(one, prompts["prompt_ids"].to_list()))


async def test_greedy_tokens_are_those_of_the_model_alone(
    engines: Mapping[str, Engine], drafted: Mapping[str, Engine], params: Params
) -> None:
    prompts = problems(params, PROBLEMS)
    sampling = params.pair("demo").sampling.model_copy(update={"temperature": 0.0})
    async with connected({**engines, **drafted}, sampling, params.infer) as clients:
        alone = await greedy(clients["large"], prompts)
        for role in drafted:
            assert await greedy(clients[role], prompts) == alone, role


@pytest.mark.parametrize(("role", "least"), [("eagle3", 2.0), ("draft", 3.0), ("ngram", 1.2)])
async def test_the_large_model_accepts_drafted_tokens(
    drafted: Mapping[str, Engine],
    params: Params,
    few_problems: pl.DataFrame,
    role: str,
    least: float,
) -> None:
    async with Client(drafted[role], params.pair("demo").sampling, params.infer) as client:
        before = await client.speculation()
        await client.complete(Request("", few_problems["prompt_ids"][0].to_list(), 300), 1, "a")
        after = await client.speculation()
    length = acceptance_length(after[0] - before[0], after[1] - before[1])
    assert length
    assert length >= least


async def test_an_engine_without_speculation_drafts_nothing(
    engines: Mapping[str, Engine], params: Params
) -> None:
    async with Client(engines["large"], params.pair("demo").sampling, params.infer) as client:
        assert await client.speculation() == (0, 0)
