"""Real vLLM servers of the bundled pair, started once for all integration tests."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pytest

from stages.config.params import load
from stages.config.schema import Params
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
    """The large model with its draft head."""
    wanted = specs(params.pair("demo"), params.engines, ("eagle3",), concurrency=4)
    with server.running(wanted, params.engines, tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="session")
def few_problems(params: Params) -> pl.DataFrame:
    """Three problems of the harder benchmark, prompts rendered."""
    settings = settings_of(params, Target("prepare", "demo", "chains_long"))
    three = settings.problem_set.model_copy(update={"n_problems": 3})
    return problem_set("chains_long", settings.model_copy(update={"problem_set": three}))[0]
