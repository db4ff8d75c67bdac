"""The bundled draft head on vLLM's own eagle3 method."""

from collections.abc import Mapping

import polars as pl
import pytest

from stages.analysis.speedup import acceptance_length
from stages.config.schema import Params
from stages.engine.client import Client
from stages.engine.server import Engine
from stages.methods.base import Request

pytestmark = pytest.mark.integration

TOKENS = 150


async def greedy(engine: Engine, params: Params, problems: pl.DataFrame) -> list[list[int]]:
    """Each problem's first tokens at temperature 0."""
    sampling = params.pair("demo").sampling.model_copy(update={"temperature": 0.0})
    async with Client(engine, sampling, params.infer) as client:
        return [
            (await client.complete(Request("", ids, TOKENS), seed=1, salt="greedy")).token_ids
            for ids in problems["prompt_ids"].to_list()
        ]


async def test_greedy_tokens_are_those_of_the_model_without_the_head(
    engines: Mapping[str, Engine],
    drafted: Mapping[str, Engine],
    params: Params,
    few_problems: pl.DataFrame,
) -> None:
    alone = await greedy(engines["large"], params, few_problems)
    assert await greedy(drafted["eagle3"], params, few_problems) == alone


async def test_the_large_model_accepts_at_least_one_drafted_token_a_step(
    drafted: Mapping[str, Engine], params: Params, few_problems: pl.DataFrame
) -> None:
    async with Client(drafted["eagle3"], params.pair("demo").sampling, params.infer) as client:
        before = await client.speculation()
        await client.complete(Request("", few_problems["prompt_ids"][0].to_list(), 300), 1, "a")
        after = await client.speculation()
    length = acceptance_length(after[0] - before[0], after[1] - before[1])
    assert length
    assert length >= 2.0


async def test_an_engine_without_a_head_drafts_nothing(
    engines: Mapping[str, Engine], params: Params
) -> None:
    async with Client(engines["large"], params.pair("demo").sampling, params.infer) as client:
        assert await client.speculation() == (0, 0)
