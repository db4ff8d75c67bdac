"""How answers are timed one after the other: what is kept, and what fails."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from stages.config.params import load
from stages.config.selection import with_defaults
from stages.engine.client import Client, RequestFailedError
from stages.generation import latency
from stages.generation.answering import Answering, Task
from stages.generation.latency import Turn
from stages.generation.store import Store
from stages.methods.base import Completion, Request
from stages.runtime.errors import UserError
from tests.conftest import TOKENIZER

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))


class Engine:
    """Answers at once; fails on prompts that begin with one of `failing`."""

    def __init__(self, *failing: int) -> None:
        self.failing = failing

    async def complete(self, request: Request, seed: int, salt: str) -> Completion:
        if request.prompt_ids[0] in self.failing:
            raise RequestFailedError("down")
        ids = [5, 2]
        return Completion(ids, TOKENIZER.decode(ids, skip_special_tokens=False), "stop")

    async def speculation(self) -> tuple[int, int]:
        return 0, 0


def measure(folder: Path, engine: Engine, turns: list[Turn]) -> Store:
    asking = Answering(1, 10, with_defaults(PARAMS, "demo", "large"), (), TOKENIZER)
    clients = cast("Mapping[str, Client]", {"large": cast("Any", engine)})
    with Store(folder) as store:
        asyncio.run(latency.measure({"large": asking}, turns, store, clients))
    return store


def turns(n: int) -> list[Turn]:
    return [Turn("large", Task([i], 0, problem=i)) for i in range(n)]


def test_every_turn_is_kept(tmp_path: Path) -> None:
    rows = latency.rows(turns(3), measure(tmp_path, Engine(), turns(3)))
    assert [(row["method"], row["problem_id"]) for row in rows] == [("large", i) for i in range(3)]


def test_an_answer_that_fails_is_named_and_the_others_are_timed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"latency: 1 of 3 answers failed: large, problem 1, run 0"):
        measure(tmp_path, Engine(1), turns(3))
    kept = Store(tmp_path)
    assert [turn.key in kept for turn in turns(3)] == [True, False, True]


def test_an_engine_that_fails_at_once_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="latency: the first request failed: down; run again"):
        measure(tmp_path, Engine(0), turns(3))
