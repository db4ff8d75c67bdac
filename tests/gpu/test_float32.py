"""What is exact in float32: greedy tokens with the draft head, margins against transformers."""

from collections.abc import Iterator, Mapping

import polars as pl
import pytest

from stages.config.schema import Params
from stages.engine.client import Client
from stages.engine.server import Engine
from stages.methods.base import Request
from tests.gpu.conftest import PAIR, Measured, running

pytestmark = pytest.mark.gpu

TOKENS = 150
CLOSE = 1e-3  # of probabilities


@pytest.fixture(scope="module")
def engines(
    params: Params, measured: Measured, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Engine]]:
    with running(params, "float32", tmp_path_factory.mktemp("logs"), measured) as started:
        yield started


async def greedy(engine: Engine, params: Params, problems: pl.DataFrame) -> list[list[int]]:
    """Each problem's first tokens at temperature 0."""
    sampling = params.pair(PAIR).sampling.model_copy(update={"temperature": 0.0})
    async with Client(engine, sampling, params.infer) as client:
        return [
            (await client.complete(Request("", ids, TOKENS), seed=1, salt="greedy")).token_ids
            for ids in problems["prompt_ids"].to_list()
        ]


def reference(model: str, ids: list[int]) -> list[float]:
    """p(top-1) - p(top-2) of what predicts each token but the first, by transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.inference_mode():
        logits = loaded(torch.tensor([ids])).logits[0, :-1]
    first, second = logits.double().softmax(-1).topk(2).values.unbind(-1)
    margins: list[float] = (first - second).tolist()
    return margins


async def test_greedy_tokens_are_those_of_the_model_without_the_head(
    engines: Mapping[str, Engine], params: Params, few_problems: pl.DataFrame
) -> None:
    alone = await greedy(engines["large"], params, few_problems)
    assert await greedy(engines["eagle3"], params, few_problems) == alone


async def test_margins_are_those_of_transformers(
    engines: Mapping[str, Engine], params: Params, few_problems: pl.DataFrame, measured: Measured
) -> None:
    prompt = few_problems["prompt_ids"][0].to_list()
    async with Client(engines["large"], params.pair(PAIR).sampling, params.infer) as client:
        written = (await client.complete(Request("", prompt, TOKENS), 1, "text")).token_ids
    async with Client(engines["small"], None, params.infer) as client:
        found = (await client.margins([*prompt, *written]))[1:]
    wanted = reference(params.pair(PAIR).engines["small"].model, [*prompt, *written])
    off = max(abs((one or 0) - other) for one, other in zip(found, wanted, strict=True))
    measured["largest difference of a margin from transformers'"] = off
    assert off < CLOSE
