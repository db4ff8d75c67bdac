"""The harness and table of the performance tests; what they measure is not tested."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl
import pytest

from stages.config.params import load
from stages.config.schema import Params
from stages.generation import asking
from stages.methods.base import Completion
from stages.perf import handoff, margins, serving, throughput
from stages.perf.harness import Measurement, in_turns, machine, peak_memory, ratios, write
from stages.perf.table import put_between_marks, table
from stages.runtime.errors import UserError
from stages.tracking.files import Row

pytestmark = pytest.mark.unit


def test_sides_take_turns_and_every_other_round_runs_backwards() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return len(order)

    found = in_turns({"a": lambda: side("a"), "b": lambda: side("b")}, repeats=2)
    assert order == ["a", "b", "b", "a"]
    assert found == {"a": [1, 4], "b": [2, 3]}


def test_a_warm_up_round_does_not_count() -> None:
    values = iter([9.0, 1.0, 2.0])
    assert in_turns({"a": lambda: next(values)}, repeats=2, warm_up=True) == {"a": [1.0, 2.0]}


def test_a_ratio_is_taken_within_a_round() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_peak_memory_counts_what_was_freed_since() -> None:
    before = peak_memory()
    held = bytearray(10**9)
    held[:: 2**12] = held[:: 2**12]
    del held
    assert peak_memory() > max(before, 1.0)


def test_results_hold_every_value_their_median_and_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "bench" / "x.json"
    write(path, "X", [Measurement("time", "s", [1.0, 5.0, 2.0])], machine())
    written = json.loads(path.read_text())
    assert written["measurements"][0]["values"] == [1.0, 5.0, 2.0]
    assert written["measurements"][0]["median"] == 2.0
    assert {"hardware", "versions", "load", "memory_gb"} <= written["machine"].keys()


RESULT: Row = {
    "title": "Mining",
    "measurements": [
        {"what": "time", "unit": "s", "values": [1.0, 2.0], "median": 1.5, "goal": "< 10"},
        {"what": "rate", "unit": "tok/s", "values": [1e6], "median": 1e6, "goal": ""},
    ],
    "machine": {
        "hardware": {"cpu": "A CPU", "cores": 2, "gpus": []},
        "memory_gb": 16,
        "started": "2026-01-02T03:04:05+00:00",
    },
}


def test_the_table_has_a_line_per_measurement_and_names_the_machine_once() -> None:
    lines = table([RESULT, RESULT]).splitlines()
    assert lines[2] == "| Mining | time | 1.5 s | 1 to 2 | < 10 |"
    assert lines[3] == "|  | rate | 1,000,000 tok/s |  |  |"
    assert lines[-1] == "Measured on A CPU, 2 cores, 16 GB, 2026-01-02."


def test_details_are_left_to_the_json_file() -> None:
    detail = {**RESULT["measurements"][0], "what": "small print", "detail": True}
    assert "small print" not in table(
        [{**RESULT, "measurements": [*RESULT["measurements"], detail]}]
    )


def test_a_hand_offs_ratio_and_growth_are_those_of_each_round() -> None:
    def cost(outside: float) -> handoff.Cost:
        return handoff.Cost(outside, client=1.0, server=1.0, waiting=0.0, prefill=9.0)

    bases: dict[Literal["text", "tokens"], float] = {"text": 4.5, "tokens": 2.0}
    costs = {
        (way, context): [cost(base + context / 1000), cost(2 * (base + context / 1000))]
        for way, base in bases.items()
        for context in handoff.CONTEXTS
    }
    rows = {row.what: row.values for row in handoff.measurements(costs)[:3]}
    assert rows["text against token ids"] == [2.0, 2.0]
    assert handoff.measurements(costs)[-1].values == pytest.approx([1.0, 2.0])


def test_an_answer_that_waits_is_told_from_a_long_one() -> None:
    rows = [{"wall_s": n / 10, "token_ids": [0] * n} for n in (10, 20, 30)]
    load = throughput.Load(seconds=6.0, rows=rows, busy={})
    assert (load.tokens_per_s, load.answers_per_minute) == (10, 30)
    assert load.unfairness == pytest.approx(1)
    waited = [*rows[:2], {"wall_s": 9.0, "token_ids": [0] * 30}]
    assert throughput.Load(6.0, waited, {}).unfairness == pytest.approx(3)


def test_a_speed_through_the_server_is_told_in_percent_of_that_without_it() -> None:
    half = {"whole", "streamed", "large"}
    loads = {
        (way, n): [serving.Load(100, 2.0 if way in half else 1.0, cpu_s=0.0)] * 2
        for way in serving.WAYS
        for n in serving.ANSWERS
    }
    rows = {row.what: row for row in serving.measurements(loads)}
    assert rows["4 in flight: relay, the pipeline's client"].values == [100.0, 100.0]
    assert rows["4 in flight: large model through the server, streamed"].values == [50.0, 50.0]


@pytest.mark.parametrize(
    "reply",
    [
        b'{"usage": {"completion_tokens": 7}}',
        b'data: {"choices": []}\n\ndata: {"usage": {"completion_tokens": 7}}\n\ndata: [DONE]\n\n',
    ],
)
def test_tokens_are_counted_of_a_whole_reply_and_of_a_stream(reply: bytes) -> None:
    assert serving.n_tokens(reply) == 7


def test_an_answer_that_failed_ends_the_measurement_of_the_server() -> None:
    with pytest.raises(UserError, match="engine 'large' is starting again"):
        serving.n_tokens(b'{"error": {"message": "engine \'large\' is starting again"}}')


class Scripted:
    """A client whose engine writes a token at once, and reports a second of each kind of work."""

    read = 0  # traces, by all clients

    def __init__(self, *_: Any) -> None:
        self.asked = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def complete(self, *_: Any) -> Completion:
        self.asked += 1
        return Completion([5], "#", "stop")

    async def complete_text(self, *_: Any) -> Completion:
        return await self.complete()

    async def metrics(self, *names: str) -> dict[str, float]:
        return dict.fromkeys(names, self.asked / 1000)

    async def margins(self, token_ids: list[int]) -> list[float | None]:
        Scripted.read += 1
        return [None, *[0.5] * (len(token_ids) - 1)]


ENGINES: Any = {"large": object(), "small": object()}


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch) -> Params:
    """The project's own, and clients without engines."""
    for module in (asking, margins):
        monkeypatch.setattr(module, "Client", Scripted)
    monkeypatch.setattr(asking, "watched", nullcontext)
    monkeypatch.setattr(throughput, "cpu_s", lambda _: dict.fromkeys(ENGINES, 0.0))
    return load(Path("params.yaml"))


def test_a_load_is_asked_with_seeds_of_its_own(params: Params, tmp_path: Path) -> None:
    loads = throughput.Asking(params, ENGINES, tmp_path)
    for in_flight, answers in ((1, 4), (4, 8)):
        assert len(loads.load(in_flight).rows) == answers
    assert len(list(tmp_path.glob("*/*.jsonl"))) == 2


@pytest.mark.parametrize("way", ["text", "tokens"])
async def test_what_the_engines_report_is_no_part_of_a_hand_off(
    params: Params, way: Literal["text", "tokens"]
) -> None:
    cost = await handoff.Relaying(ENGINES, params, params.pair("demo")).turn(way, 500)
    assert cost.prefill == pytest.approx(1.0)
    assert cost.outside < 0, "the scripted engines say that they worked longer than they took"


async def test_margins_are_measured_through_an_empty_store_each_time(
    params: Params, tmp_path: Path
) -> None:
    pair = params.pair("demo")
    margins.make(tmp_path / "traces.parquet", pair, 2)
    before = Scripted.read
    for _ in range(2):
        await margins.read_margins(tmp_path, ENGINES["small"], params, pair)
        assert len(pl.read_parquet(tmp_path / "margins.parquet")) == 2 * margins.N_TOKENS
    assert Scripted.read == before + 4


def test_the_readme_keeps_all_but_the_table(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    put_between_marks(page, "new\n")
    assert page.read_text() == "before\n<!-- bench -->\nnew\n<!-- /bench -->\nafter\n"


def test_a_readme_without_marks_is_named(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("nothing\n")
    with pytest.raises(UserError, match=r"README\.md: no place for the table"):
        put_between_marks(page, "new\n")
