"""How many answers are under way at once, and in which order they begin."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stages.config.params import load
from stages.generation import answering
from stages.generation.answering import Answering, Task
from stages.methods.base import Completion, Request
from stages.tracking.files import Shard

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))
PAIR = PARAMS.pair("demo")


class Engine:
    """Answers after some turns of the event loop, the later ones sooner."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.in_flight = self.most = 0

    async def complete(self, request: Request, seed: int, salt: str) -> Completion:
        self.begun.append(request.prompt_ids[0])
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        for _ in range(100 - request.prompt_ids[0]):
            await asyncio.sleep(0)
        self.in_flight -= 1
        return Completion([5, 2], "x", "stop")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    one = Engine()

    @asynccontextmanager
    async def connected(*_: Any) -> AsyncIterator[Mapping[str, Engine]]:
        yield {"large": one}

    monkeypatch.setattr(answering, "connected", connected)
    return one


def collect(n: int, concurrency: int, folder: Path) -> None:
    infer = PARAMS.infer.model_copy(update={"concurrency": concurrency})
    params = PARAMS.model_copy(update={"infer": infer})
    asking = Answering(params, PAIR, params.method("large"), (), {})
    asking.collect([Task(i, 0, [i]) for i in range(n)], Shard(folder / "shard.jsonl"), "test")


def test_no_more_answers_are_under_way_than_allowed(engine: Engine, tmp_path: Path) -> None:
    collect(20, 4, tmp_path)
    assert engine.most == 4


def test_answers_begin_in_the_order_of_their_problems(engine: Engine, tmp_path: Path) -> None:
    collect(20, 4, tmp_path)
    assert engine.begun == list(range(20))
