"""Methods against real servers: what is recorded, resumed and repeated."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest

from stages.config.schema import Params
from stages.config.selection import with_defaults
from stages.engine.server import Engine
from stages.generation import answers, asking
from stages.generation.answering import Answering, Task, tasks
from stages.generation.store import Store
from stages.runtime.errors import UserError
from stages.tracking.files import Row
from tests.conftest import TOKENIZER

pytestmark = pytest.mark.integration

CUES = ("So ", "So,", "Thus", "Therefore,", "Hence,", "Now", "Next,", "Then,")
Collect = Callable[..., list[Row]]


def answering(params: Params, name: str, handoff: str = "tokens") -> Answering:
    """A method of the bundled pair with all that shapes its answers."""
    method, relayed = with_defaults(params, "demo", name), name == "relaygen"
    if relayed:
        method = method.model_copy(update={"handoff": handoff})
    budget = params.pair("demo").budget
    return Answering(params.seed, budget, method, CUES if relayed else (), TOKENIZER)


@pytest.fixture
def collect(
    params: Params, engines: Mapping[str, Engine], few_problems: pl.DataFrame, tmp_path: Path
) -> Collect:
    """Answer the problems with a method; returns the answers."""

    def run(
        name: str, concurrency: int = 4, store: str = "store", handoff: str = "tokens"
    ) -> list[Row]:
        infer = params.infer.model_copy(update={"concurrency": concurrency})
        todo, sampling = tasks(few_problems, 1), params.pair("demo").sampling
        with Store(tmp_path / store) as kept:
            missing = asking.unanswered(todo, kept)
            method = answering(params, name, handoff)
            asked = [asking.Asked(method, missing, kept)]
            asking.collect(asked, engines, sampling, infer, "test")
            return answers.rows(todo, kept)

    return run


def without_times(rows: list[Row]) -> list[Row]:
    """Rows in the order of their problems, without times and without what was cached."""
    kept = []
    for row in sorted(rows, key=lambda row: row["problem_id"]):
        segments = [{**segment, "wall_s": 0} for segment in row["segments"]]
        kept.append({**row, "wall_s": 0, "cached_tokens": 0, "segments": segments})
    return kept


@pytest.mark.parametrize("method", ["small", "large", "relaygen"])
def test_every_problem_gets_one_finished_answer(collect: Collect, method: str) -> None:
    rows = collect(method)
    assert sorted(row["problem_id"] for row in rows) == [0, 1, 2]
    assert {row["finish_reason"] for row in rows} == {"stop"}
    assert all("\\boxed{" in row["answer_text"] for row in rows)


def test_a_relayed_answer_is_written_by_both_and_adds_up(collect: Collect) -> None:
    for row in collect("relaygen"):
        assert row["n_switches"] >= 2
        assert row["large_tokens"] > row["small_tokens"] / 3 > 0
        written = row["large_tokens"] + row["small_tokens"]
        assert written == sum(segment["n_tokens"] for segment in row["segments"])
        # At most the two tokens of an end tag that no model wrote come on top.
        assert len(row["token_ids"]) - written in (0, 2)


@pytest.mark.parametrize("handoff", ["tokens", "text"])
def test_cues_stand_where_large_stopped(collect: Collect, handoff: str) -> None:
    for row in collect("relaygen", handoff=handoff):
        at = 0
        for segment in (s for s in row["segments"] if s["stage"] == "reasoning"):
            at += segment["n_tokens"]
            text = TOKENIZER.decode(row["token_ids"][:at], skip_special_tokens=False)
            if segment["cue"]:
                assert segment["model"] == "large"
                assert text.endswith(segment["cue"].rstrip(" "))


def test_text_handed_over_gives_finished_answers_by_both(collect: Collect) -> None:
    for row in collect("relaygen", handoff="text"):
        assert row["n_switches"] >= 2
        assert row["finish_reason"] == "stop"
        assert "\\boxed{" in row["answer_text"]


def test_most_of_what_is_handed_over_is_in_the_prefix_cache(collect: Collect) -> None:
    for row in collect("relaygen"):
        assert row["prompt_tokens"] / 2 < row["cached_tokens"] < row["prompt_tokens"]


def test_one_at_a_time_repeats_itself_token_for_token(collect: Collect) -> None:
    first = collect("relaygen", concurrency=1, store="a")
    assert without_times(first) == without_times(collect("relaygen", concurrency=1, store="b"))


def test_an_answer_does_not_depend_on_those_before_it(collect: Collect, tmp_path: Path) -> None:
    all_three = collect("relaygen", concurrency=1, store="a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (checkpoint,) = (tmp_path / "b").glob("*.jsonl")
    checkpoint.write_bytes(b"".join(checkpoint.read_bytes().splitlines(keepends=True)[:1]))
    resumed = collect("relaygen", concurrency=1, store="b")
    assert without_times(resumed) == without_times(all_three)


def test_a_rerun_asks_for_nothing_that_is_finished(collect: Collect, tmp_path: Path) -> None:
    collect("small")
    (checkpoint,) = (tmp_path / "store").glob("*.jsonl")
    before = checkpoint.read_bytes()
    collect("small")
    assert checkpoint.read_bytes() == before


def test_a_failed_request_leaves_no_answer(
    params: Params, engines: Mapping[str, Engine], tmp_path: Path
) -> None:
    infer = params.infer.model_copy(update={"retries": 0, "request_timeout_s": 0.01})
    method, sampling = answering(params, "large"), params.pair("demo").sampling
    with Store(tmp_path / "store") as store:
        asked = [asking.Asked(method, [Task([1, 2, 3], 0)], store)]
        with pytest.raises(UserError, match=r"1 of 1 answers failed.*run again"):
            asking.collect(asked, engines, sampling, infer, "test")
        assert not store.places
