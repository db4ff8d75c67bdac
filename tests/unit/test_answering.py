"""Which answers are asked for, in which order, how many at once, and by which seeds."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages.config.params import load
from stages.config.selection import with_defaults
from stages.engine import models
from stages.engine.client import RequestFailedError, RequestRefusedError
from stages.generation import answers, asking
from stages.generation.answering import Answering, Task, tasks
from stages.generation.asking import Asked
from stages.generation.failures import GIVE_UP_AFTER
from stages.generation.store import Store
from stages.methods import of_kind
from stages.methods.base import Completion, Request
from stages.runtime.errors import UserError
from stages.tracking.files import Row

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))
PAIR = PARAMS.pair("demo")
TOKENIZER = models.tokenizer(PAIR.engines["large"])


class Engine:
    """Answers after some turns of the event loop, the later ones sooner; fails where told to."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.seeds: list[int] = []
        self.salts: list[str] = []
        self.in_flight = self.most = 0
        self.failing: set[int] = set()
        self.error: type[RequestFailedError] = RequestFailedError
        self.ids = [5, 2]
        self.text = TOKENIZER.decode(self.ids, skip_special_tokens=False)

    async def complete(self, request: Request, seed: int, salt: str) -> Completion:
        first = request.prompt_ids[0]
        self.begun.append(first)
        self.seeds.append(seed)
        self.salts.append(salt)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        for _ in range(100 - first):
            await asyncio.sleep(0)
        self.in_flight -= 1
        if first in self.failing:
            raise self.error("down")
        return Completion(self.ids, self.text, "stop")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    one = Engine()

    @asynccontextmanager
    async def connected(*_: Any) -> AsyncIterator[Mapping[str, Engine]]:
        yield {"large": one, "small": one}

    monkeypatch.setattr(asking, "connected", connected)
    return one


def answering(name: str = "large", seed: int = 1, cues: tuple[str, ...] = ()) -> Answering:
    return Answering(seed, PAIR.budget, with_defaults(PARAMS, "demo", name), cues, TOKENIZER)


def collect(todo: Sequence[Task], folder: Path, concurrency: int = 4, **how: Any) -> Store:
    infer = PARAMS.infer.model_copy(update={"concurrency": concurrency})
    with Store(folder) as store:
        asked = [Asked(answering(**how), todo, store)]
        asking.collect(asked, {}, PAIR.sampling, infer, "test")
    return store


def prompts(n: int) -> list[Task]:
    return [Task([i], 0, problem=i) for i in range(n)]


def test_no_more_answers_are_under_way_than_allowed(engine: Engine, tmp_path: Path) -> None:
    collect(prompts(20), tmp_path)
    assert engine.most == 4


def test_answers_begin_in_the_order_of_their_problems(engine: Engine, tmp_path: Path) -> None:
    collect(prompts(20), tmp_path)
    assert engine.begun == list(range(20))


def test_each_answer_is_kept_by_its_prompt_and_repeat(engine: Engine, tmp_path: Path) -> None:
    todo = prompts(3)
    store = collect(todo, tmp_path)
    assert all(store.row(task.key)["token_ids"] == [5, 2] for task in todo)
    assert Task([1], 1).key not in store


def test_an_answer_that_fails_stops_none_of_the_others_and_is_named(
    engine: Engine, tmp_path: Path
) -> None:
    engine.failing = {3, 7}
    with pytest.raises(UserError) as caught:
        collect(prompts(10), tmp_path)
    assert str(caught.value) == (
        "test: 2 of 10 answers failed: problem 3, repeat 0; problem 7, repeat 0 "
        "(the first: down); run again to ask for these alone"
    )
    missing = asking.unanswered(prompts(10), Store(tmp_path))
    assert [task.problem for task in missing] == [3, 7]


def asked(folder: Path, name: str, seed: int, first: int, n: int) -> Asked:
    """Tasks of one method, numbered from `first`."""
    todo = [Task([i], 0, problem=i) for i in range(first, first + n)]
    return Asked(answering(name, seed), todo, Store(folder / name), name)


def test_methods_on_the_same_engines_take_turns_and_share_what_is_in_flight(
    engine: Engine, tmp_path: Path
) -> None:
    infer = PARAMS.infer.model_copy(update={"concurrency": 2})
    both = [asked(tmp_path, "large", 1, 0, 3), asked(tmp_path, "small", 1, 10, 2)]
    with both[0].store, both[1].store:
        asking.collect(both, {}, PAIR.sampling, infer, "test")
    assert engine.begun == [0, 10, 1, 11, 2]
    assert engine.most == 2
    assert all(task.key in one.store for one in both for task in one.missing)


def test_methods_that_are_alike_ask_for_an_answer_once(tmp_path: Path) -> None:
    first, other = asked(tmp_path, "large", 1, 0, 3), asked(tmp_path, "large", 1, 2, 3)
    apart = asked(tmp_path, "small", 1, 0, 1)
    found = asking.once([first, other, apart])
    assert [[task.problem for task in one.missing] for one in found] == [[0, 1, 2], [3, 4], [0]]


def test_among_several_methods_a_failure_names_its_own(engine: Engine, tmp_path: Path) -> None:
    engine.failing = {10}
    both = [asked(tmp_path, "large", 1, 0, 3), asked(tmp_path, "small", 1, 10, 2)]
    with both[0].store, both[1].store, pytest.raises(UserError) as caught:
        asking.collect(both, {}, PAIR.sampling, PARAMS.infer, "test")
    assert "1 of 5 answers failed: small, problem 10, repeat 0 (" in str(caught.value)


CAREFUL = of_kind(
    {"kind": "relay", "large": "large", "small": "small", "cues": "none", "early": {"margin": 0.5}}
)


async def test_an_engine_without_the_probabilities_that_a_method_needs_is_told_in_one_line(
    engine: Engine,
) -> None:
    engine.failing = {0}
    clients: Any = {"small": engine}
    with pytest.raises(UserError, match="goes by the small model's probabilities: down"):
        await asking.check_probabilities(CAREFUL, clients, prompts(1)[0])


async def test_a_method_that_needs_no_probabilities_asks_for_none(engine: Engine) -> None:
    clients: Any = {"large": engine}
    await asking.check_probabilities(answering().method, clients, prompts(1)[0])
    assert engine.begun == []


def test_a_refused_answer_stops_none_of_the_others(engine: Engine, tmp_path: Path) -> None:
    engine.failing, engine.error = set(range(1, 40)), RequestRefusedError
    with pytest.raises(UserError) as caught:
        collect(prompts(50), tmp_path, concurrency=1)
    line = str(caught.value)
    assert line.startswith("test: 39 of 50 answers failed: problem 1, repeat 0; problem 2, ")
    assert "; problem 10, repeat 0; ... (the first: down); run again" in line
    assert line.endswith("(39 were refused: they would be again)")
    assert len(asking.unanswered(prompts(50), Store(tmp_path))) == 39


def test_an_engine_that_refuses_every_request_is_not_asked_for_all(
    engine: Engine, tmp_path: Path
) -> None:
    engine.failing, engine.error = set(range(90)), RequestRefusedError
    with pytest.raises(UserError, match="test: every request is refused, the first: down"):
        collect(prompts(90), tmp_path)
    assert len(engine.begun) <= GIVE_UP_AFTER + 4


def test_an_answer_whose_ids_are_not_its_text_is_not_kept(engine: Engine, tmp_path: Path) -> None:
    engine.text = "another"
    message = r"problem 0, repeat 0 \(the first: engine 'large': its ids say .* text is 'another'\)"
    with pytest.raises(UserError, match=message):
        collect(prompts(1), tmp_path)
    assert len(asking.unanswered(prompts(1), Store(tmp_path))) == 1


def test_only_what_the_store_lacks_is_asked_for(engine: Engine, tmp_path: Path) -> None:
    collect(prompts(3), tmp_path)
    missing = asking.unanswered(prompts(5), Store(tmp_path))
    assert [task.problem for task in missing] == [3, 4]


def test_a_prompt_that_stands_in_two_problem_sets_is_asked_once(tmp_path: Path) -> None:
    twice = [Task([1], 0, problem=0), Task([2], 0, problem=1), Task([1], 0, problem=17)]
    for todo in (asking.unanswered(twice, Store(tmp_path)), asking.share(twice, 0, 1)):
        assert [task.prompt_ids for task in todo] == [[1], [2]]


def test_each_repeat_of_a_prompt_is_an_answer_of_its_own(tmp_path: Path) -> None:
    problems = pl.DataFrame({"problem_id": [4, 5], "prompt_ids": [[1], [2]]})
    todo = tasks(problems, 2)
    assert [(task.problem, task.repeat) for task in todo] == [(4, 0), (4, 1), (5, 0), (5, 1)]
    assert len(asking.unanswered(todo, Store(tmp_path))) == 4


@pytest.mark.parametrize("parts", [1, 3, 8])
def test_the_shares_of_several_jobs_are_all_tasks_once(parts: int) -> None:
    todo = [Task([i], repeat, problem=i) for i in range(10) for repeat in range(2)]
    shares = [asking.share([*todo, *todo[:5]], part, parts) for part in range(parts)]
    keys = [task.key for share in shares for task in share]
    assert sorted(keys) == sorted(task.key for task in todo)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_an_answer_that_goes_on_from_a_reasoning_is_not_that_to_its_prompt() -> None:
    assert Task([1, 2], 0).key != Task([1, 2], 0, spent=1).key


def seeds_of(engine: Engine, task: Task, **how: Any) -> tuple[list[int], list[str]]:
    """The seeds and salts of the requests of one answer."""
    engine.seeds, engine.salts = [], []
    asyncio.run(answering(**how).answer(task, {"large": engine, "small": engine}))  # type: ignore[dict-item]
    return engine.seeds, engine.salts


def test_a_prompt_has_the_same_seeds_whatever_problem_it_is(engine: Engine) -> None:
    assert seeds_of(engine, Task([7], 0, problem=1)) == seeds_of(engine, Task([7], 0, problem=9))


@pytest.mark.parametrize(
    ("task", "seed"), [(Task([7], 1), 1), (Task([8], 0), 1), (Task([7], 0), 2)]
)
def test_another_repeat_prompt_or_seed_draws_other_tokens(
    engine: Engine, task: Task, seed: int
) -> None:
    (first,), _ = seeds_of(engine, Task([7], 0), seed=1)
    (other,), _ = seeds_of(engine, task, seed=seed)
    assert first != other


def test_methods_draw_alike_and_share_no_cache(engine: Engine) -> None:
    first, salts = seeds_of(engine, Task([7], 0), name="large")
    other, others = seeds_of(engine, Task([7], 0), name="small")
    assert first == other
    assert set(salts).isdisjoint(others)


def test_the_table_holds_every_task_in_the_order_of_problem_and_repeat(
    engine: Engine, tmp_path: Path
) -> None:
    todo = [Task([9], 0, problem=2), Task([8], 0, problem=1), Task([9], 0, problem=0)]
    store = collect(asking.unanswered(todo, Store(tmp_path)), tmp_path)
    table = answers.table(todo, store)
    assert table["problem_id"].to_list() == [0, 1, 2]
    assert table.schema == answers.SCHEMA


def test_a_table_with_an_answer_missing_is_refused(engine: Engine, tmp_path: Path) -> None:
    store = collect(prompts(2), tmp_path)
    with pytest.raises(UserError, match=r"2 answers are missing, first: problem 2, repeat 0; run"):
        answers.rows(prompts(4), store)


def test_each_row_says_whose_answer_it_is(engine: Engine, tmp_path: Path) -> None:
    todo = [Task([1], 0, problem=3), Task([1], 0, problem=5)]
    rows: list[Row] = answers.rows(todo, collect(todo[:1], tmp_path))
    assert [row["problem_id"] for row in rows] == [3, 5]
    assert rows[0] | {"problem_id": 5} == rows[1]
