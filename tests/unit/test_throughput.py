"""Answers under load: who is measured beside what, how many are in flight, and the arithmetic."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import polars as pl
import pytest

from stages.analysis import paper_tables
from stages.analysis.captions import under_load
from stages.analysis.load import load_rows, pays_at
from stages.analysis.plots import throughput_against_latency
from stages.config import checks
from stages.config.contenders import Contender, contenders, largest, together
from stages.config.params import load
from stages.config.schema import Params, Sampling
from stages.config.selection import methods_of, with_defaults
from stages.engine.client import Client, RequestFailedError
from stages.engine.spec import EngineSpec, replicated
from stages.generation import throughput
from stages.generation.answering import Answering, Task
from stages.generation.store import Store
from stages.generation.throughput import Level
from stages.methods.base import Completion, Request
from stages.runtime.errors import UserError
from stages.throughput import measure as measure_together
from stages.tracking.recipes import Job, job_of
from stages.tracking.targets import Target
from tests.conftest import TOKENIZER
from tests.unit.conftest import changed, engine_specs

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))
LARGE = Contender("large", ("large",))


def found(pair: str) -> list[Contender]:
    """The contenders of a pair."""
    return contenders(methods_of(PARAMS, pair), PARAMS.pair(pair).engines)


# Who is measured, on what hardware.


def test_on_a_cpu_the_large_model_has_as_many_engines_as_the_relay() -> None:
    *methods, beside = found("demo")
    assert [one.method for one in methods] == list(methods_of(PARAMS, "demo"))
    assert beside == LARGE._replace(replicas=2)
    wanted = replicated(engine_specs("large"), beside.replicas)
    assert [spec.role for spec in wanted] == ["large", "large-2"]
    assert beside.clients_of(1) == {"large": "large-2"}
    assert throughput.hardware(wanted) == {"engines": 2, "gpus": 0, "cores": 2}


def test_three_gpus_hold_the_large_model_of_two_once() -> None:
    assert [one.replicas for one in found("qwen3")] == [1] * len(methods_of(PARAMS, "qwen3"))
    held = throughput.hardware(engine_specs("large", "small", pair="qwen3"))
    assert held == {"engines": 2, "gpus": 3, "cores": 0}


def test_engines_that_share_a_gpu_hold_it_together() -> None:
    held = throughput.hardware(engine_specs("large", "small", pair="demo_gpu"))
    assert held == {"engines": 2, "gpus": 1, "cores": 0}


def test_methods_with_the_same_engines_share_them() -> None:
    groups = [[str(one) for one in group] for group in together(found("demo"))]
    assert ["spec_think", "r2r", "r2r_entropy", "relaygen"] in groups
    assert ["large"] in groups
    assert ["large x 2"] in groups


def test_engines_have_the_routers_of_all_methods_that_they_are_measured_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[EngineSpec] = []

    def running(_: Job, wanted: list[EngineSpec], *__: Any) -> None:
        started.extend(wanted)
        raise UserError("that will do")

    monkeypatch.setattr("stages.throughput.asking.running", running)
    job = job_of(PARAMS, Target("throughput", "demo"))
    group = next(some for some in together(found("demo")) if len(some) > 2)
    cues: dict[str, list[str]] = {name: [] for name in job.settings.methods}
    with pytest.raises(UserError, match="that will do"):
        measure_together(
            job, cues, [Level(one, 1, []) for one in group], cast("Store", None), Path()
        )
    assert {one.role: one.routers for one in started} == {
        "large": (),
        "small": ("demo_pair/router/model.safetensors", "entropy"),
    }


def test_a_job_needs_the_gpus_of_one_method_and_not_of_all() -> None:
    assert largest(PARAMS, "qwen3").method in ("spec_think", "relaygen", "relaygen_eagle3")


def test_only_pairs_that_run_are_measured_under_load() -> None:
    params = Params.model_validate(changed("throughput.run", ["qwen3"]))
    assert list(checks.under_load(params)) == [
        "throughput.run: pair 'qwen3' is not among those that run: demo"
    ]


# Measuring.


class Streaming:
    """In place of a client that streams: answers in two tokens, and counts who asks at once."""

    asking: ClassVar[Counter[str]] = Counter()
    most: ClassVar[Counter[str]] = Counter()
    fails = False

    def __init__(self, role: str, _: Sampling, hear: Callable[[int, str], None]) -> None:
        self.role, self.hear = role, hear

    async def complete(self, request: Request, seed: int, salt: str) -> Completion:
        cls = Streaming
        cls.asking[self.role] += 1
        cls.most[self.role] = max(cls.most[self.role], cls.asking[self.role])
        await asyncio.sleep(0.01)
        cls.asking[self.role] -= 1
        if cls.fails:
            raise RequestFailedError("down")
        self.hear(1, "")
        ids = [5, 2]
        return Completion(ids, TOKENIZER.decode(ids, skip_special_tokens=False), "stop")


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> type[Streaming]:
    """Streaming clients that count from nothing."""
    monkeypatch.setattr(Streaming, "asking", Counter())
    monkeypatch.setattr(Streaming, "most", Counter())
    monkeypatch.setattr(throughput, "StreamingClient", Streaming)

    async def ready(*_: object) -> None:
        pass

    monkeypatch.setattr(throughput, "warm_up", ready)
    return Streaming


def measure(folder: Path, level: Level) -> Store:
    """A level by clients that are called like their engines."""
    asking = Answering(1, 10, with_defaults(PARAMS, "demo", "large"), (), TOKENIZER)
    clients = cast("Mapping[str, Client]", {"large": "large", "large-2": "large-2"})
    held = {"engines": 1, "gpus": 0, "cores": 1}
    sampling = PARAMS.pair("demo").sampling
    with Store(folder) as store:
        asyncio.run(throughput.measure({"large": asking}, [level], store, clients, sampling, held))
    return store


def level(contender: Contender, in_flight: int, n: int = 8) -> Level:
    return Level(contender, in_flight, [Task([i], 0, problem=i) for i in range(n)])


def test_as_many_answers_are_in_flight_as_asked_for(
    tmp_path: Path, streaming: type[Streaming]
) -> None:
    three = level(LARGE, 3)
    rows = list(throughput.rows([three], measure(tmp_path, three)))
    assert streaming.most == {"large": 3}
    assert sorted(row["problem_id"] for row in rows) == list(range(8))
    assert pl.DataFrame(rows, throughput.SCHEMA)["first_token_s"].null_count() == 0


def test_replicas_share_the_answers(tmp_path: Path, streaming: type[Streaming]) -> None:
    measure(tmp_path, level(LARGE._replace(replicas=2), 4))
    assert streaming.most == {"large": 2, "large-2": 2}


def test_a_level_with_a_failed_answer_is_not_kept(
    tmp_path: Path, streaming: type[Streaming], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "fails", True)
    with pytest.raises(RequestFailedError, match="down"):
        measure(tmp_path, level(LARGE, 2))
    assert level(LARGE, 2).key not in Store(tmp_path)


def test_each_problem_is_answered_equally_often_and_at_least_twice_as_many_as_in_flight() -> None:
    problems = pl.DataFrame({"problem_id": [0, 1, 2], "prompt_ids": [[1], [2], [3]]})
    methods = methods_of(PARAMS, "demo")
    levels = throughput.levels([LARGE], methods, problems, [1, 4])
    assert [len(one.tasks) for one in levels] == [3, 9]
    assert set(Counter(task.problem for task in levels[1].tasks).values()) == {3}


# The table.


def answers(method: str, replicas: int, seconds: float, **held: Any) -> pl.DataFrame:
    """Four answers with two in flight."""
    row = {"method": method, "replicas": replicas, "in_flight": 2, "repeat": 0, "begun_s": 0.0,
           "first_token_s": 0.5, "large_tokens": 30, "small_tokens": 10, "level_s": seconds,
           "other_load": 0.0, "engines": replicas, "gpus": 0, "cores": replicas}  # fmt: skip
    rows = [row | {"problem_id": i, "wall_s": 1.0 + i} | held for i in range(4)]
    return pl.DataFrame(rows, throughput.SCHEMA)


def table(*parts: pl.DataFrame) -> pl.DataFrame:
    """The rows of throughput.csv."""
    return pl.DataFrame(load_rows(pl.concat(parts)))


ALONE, DOUBLE = answers("large", 1, 8.0), answers("large", 2, 4.0)
RELAY = answers("relaygen", 1, 6.0, engines=2, cores=2)


def test_a_method_is_charged_for_all_that_its_engines_hold() -> None:
    row = table(ALONE, RELAY).row(1, named=True)
    assert row["answers_per_min"] == 40
    assert row["tokens_per_min"] == 1600
    assert row["core_s_per_answer"] == 3
    assert row["large_utilization"] == 75
    assert (row["median_s"], row["p95_s"]) == (2.5, pytest.approx(3.85))
    assert row["first_token_s"] == 0.5


def test_a_relay_is_compared_with_the_large_model_on_the_same_cores() -> None:
    rows = table(ALONE, DOUBLE, RELAY)
    assert rows["large_replicas"].to_list() == [1, 2, 2]
    assert rows["against_large"].to_list() == pytest.approx([1, 1, 4 / 6])


def test_what_is_left_over_of_the_gpus_stays_idle() -> None:
    rows = table(
        answers("large", 1, 8.0, gpus=2, cores=0), answers("relaygen", 1, 6.0, gpus=3, cores=0)
    )
    assert rows["against_large"].to_list() == pytest.approx([1, 8 / 6])
    assert rows["gpu_s_per_answer"].to_list() == [4, 4.5]


def test_less_than_the_large_model_takes_is_compared_with_it_all_the_same() -> None:
    small = answers("small", 1, 2.0, gpus=1, cores=0)
    rows = table(answers("large", 1, 8.0, gpus=2, cores=0), small)
    assert rows["against_large"].to_list() == [1, 4]


def test_the_caption_says_where_a_relay_pays() -> None:
    slow = table(ALONE, DOUBLE, RELAY)
    assert pays_at(slow, "relaygen") == []
    assert "hardware at no number in flight." in under_load(slow, "chains_short")
    fast = table(ALONE, RELAY)
    assert pays_at(fast, "relaygen") == [2]
    assert "hardware at 2 in flight." in under_load(fast, "chains_short")


def test_the_printed_table_charges_cores_on_a_cpu_and_gpus_on_gpus() -> None:
    on_cpu = paper_tables.throughput_grid("demo", table(ALONE, DOUBLE))
    assert on_cpu.rows[1][0].text == "Large model (2 engines), 2"
    assert "core-s/answer" in on_cpu.header
    on_gpus = paper_tables.throughput_grid("qwen3", table(answers("large", 1, 8.0, gpus=2)))
    assert "GPU-s/answer" in on_gpus.header


def test_the_figure_has_a_curve_per_method_and_one_for_several_engines() -> None:
    (axes,) = throughput_against_latency(table(ALONE, DOUBLE, RELAY)).axes
    handles, labels = axes.get_legend_handles_labels()
    assert labels == ["Large model", "Large model (2 engines)", "RelayGen"]
    assert [cast("Any", one).get_linestyle() for one in handles] == ["-", "--", "-"]
