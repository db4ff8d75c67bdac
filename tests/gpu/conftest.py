"""Real vLLM servers of the bundled pair on a GPU: `make test-gpu`.

What the other tests show on CPUs is shown here again where a GPU may differ: vLLM computes there
with other kernels and another model runner. What was measured is in results/gpu.json.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages.config.params import load
from stages.config.schema import Params
from stages.engine import gpus, server
from stages.engine.server import Engine
from stages.engine.spec import specs
from stages.problems.prompts import problem_set
from stages.runtime.errors import UserError
from stages.tracking import host
from stages.tracking.resolving import settings_of
from stages.tracking.targets import Target

PAIR = "demo_gpu"
ROLES = ("large", "eagle3", "small")
MEASURED = Path("results/gpu.json")
Measured = dict[str, Any]


def missing() -> str | None:
    """Why there is nothing to test here; None if there is."""
    try:
        version("vllm")
        return None if gpus.visible_gpus() else "CUDA_VISIBLE_DEVICES allows no GPU"
    except PackageNotFoundError:
        return "vLLM for CUDA is not installed: make setup VARIANT=cuda"
    except UserError as error:
        return str(error)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where there is no GPU for the tests, leave one of them, to be skipped in one line."""
    ours = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    if ours and (reason := missing()):
        ours[0].add_marker(pytest.mark.skip(reason=reason))
        config.hook.pytest_deselected(items=ours[1:])
        items[:] = [item for item in items if item not in ours[1:]]


@pytest.fixture(scope="session")
def measured() -> Iterator[Measured]:
    """What the tests measure, with what it was measured on; written at the end."""
    packages = {name: version(name) for name in ("vllm", "torch", "transformers")}
    values: Measured = {"driver": gpus.gpus()[0].driver, **host.hardware(), "packages": packages}
    yield values
    MEASURED.parent.mkdir(exist_ok=True)
    MEASURED.write_text(json.dumps(values, indent=2) + "\n")


@pytest.fixture(scope="session")
def params() -> Params:
    """The project's, with one answer at a time."""
    loaded = load(Path("params.yaml"))
    infer = loaded.infer.model_copy(update={"concurrency": 1, "retries": 1})
    return loaded.model_copy(update={"infer": infer})


@pytest.fixture(scope="session")
def few_problems(params: Params) -> pl.DataFrame:
    """Three problems of the harder benchmark, prompts rendered."""
    settings = settings_of(params, Target("prepare", PAIR, "chains_long"))
    three = settings.problem_set.model_copy(update={"n_problems": 3})
    return problem_set("chains_long", settings.model_copy(update={"problem_set": three}))[0]


@contextmanager
def running(
    params: Params, dtype: str, logs: Path, measured: Measured
) -> Iterator[Mapping[str, Engine]]:
    """All engines of the pair on one GPU; how long they took to start is measured."""
    pair = params.pair(PAIR).model_copy(update={"dtype": dtype})
    caching = dtype != "float32"  # margins, as their stage asks for them, are read without
    wanted = specs(pair, params.engines, ROLES, params.infer.concurrency, caching)
    begun = time.monotonic()
    with server.running(wanted, params.engines, logs) as engines:
        measured[f"start of three engines in {dtype}, s"] = round(time.monotonic() - begun, 1)
        yield engines
