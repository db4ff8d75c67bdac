"""Real vLLM servers of the bundled pair, started once for all integration tests."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pytest

from stages.config.params import load
from stages.config.schema import Model, Params
from stages.engine import server
from stages.engine.server import Engine
from stages.engine.spec import specs
from stages.problems.prompts import problem_set
from stages.tracking.resolving import settings_of
from stages.tracking.targets import Target


@pytest.fixture(scope="session")
def params() -> Params:
    loaded = load(Path("params.yaml"))
    infer = loaded.infer.model_copy(update={"concurrency": 4, "retries": 1})
    return loaded.model_copy(update={"infer": infer})


@pytest.fixture(scope="session")
def engines(
    params: Params, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Engine]]:
    """L and S side by side."""
    wanted = specs(params.pair("demo"), params.engines, ("large", "small"), concurrency=4)
    with server.running(wanted, params.engines, tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="session")
def drafted(
    params: Params, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Engine]]:
    """The large model with its draft head, with the small model as draft, and with n-grams."""
    pair = params.pair("demo")
    ngram = {"method": "ngram", "tokens": 3, "prompt_lookup_min": 2, "prompt_lookup_max": 5}
    served = Model.model_validate({"model": pair.engines["large"].model, "speculation": ngram})
    pair = pair.model_copy(update={"engines": {**pair.engines, "ngram": served}})
    wanted = specs(pair, params.engines, ("eagle3", "draft", "ngram"), concurrency=4)
    with server.running(wanted, params.engines, tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="session")
def few_problems(params: Params) -> pl.DataFrame:
    """Three problems of the harder benchmark."""
    return problems(params, 3)


def problems(params: Params, n: int) -> pl.DataFrame:
    """The first problems of the harder benchmark, prompts rendered."""
    settings = settings_of(params, Target("prepare", "demo", "chains_long"))
    some = settings.problem_set.model_copy(update={"n_problems": n})
    return problem_set("chains_long", settings.model_copy(update={"problem_set": some}))[0]
