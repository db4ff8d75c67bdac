"""A method's answers, put together from the store: all of them, once, and by whom."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

from stages import infer, merge
from stages.config.params import load
from stages.engine import server
from stages.generation.answering import tasks
from stages.generation.answers import check_complete
from stages.generation.asking import answers_store
from stages.problems.prompts import SCHEMA
from stages.runtime.errors import UserError
from stages.tracking import status
from stages.tracking.files import Row, write_text
from stages.tracking.frames import read_parquet, write_parquet
from stages.tracking.notes import read_provenance
from stages.tracking.recipes import job_of
from stages.tracking.resolving import settings_of
from stages.tracking.targets import Target
from tests.unit.conftest import edited

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("project")]

PROBLEMS = pl.DataFrame({"problem_id": range(10)})
DEMO = Path("results/demo")
SETS, CUES = DEMO / "problems", DEMO / "cue_sets/relaygen.yaml"
BENCHMARKS = ("chains_short", "chains_long", "chains_choice")
# The second prompt stands in all of them.
PROMPTS = {"chains_short": ([1], [9]), "chains_long": ([2], [9]), "chains_choice": ([9], [3])}


@pytest.mark.parametrize("shards", [1, 3, 8])
def test_parts_of_a_problem_set_have_every_problem_once(shards: int) -> None:
    parts = [PROBLEMS.gather_every(shards, part) for part in range(shards)]
    together = pl.concat(parts).with_columns(repeat=0)
    check_complete(together, PROBLEMS, 1, Path("x.parquet"))


def test_a_part_that_is_missing_or_there_twice_is_refused() -> None:
    parts = [PROBLEMS.gather_every(3, part).with_columns(repeat=0) for part in range(3)]
    for wrong in (parts[:2], [*parts, parts[0]]):
        with pytest.raises(UserError, match=r"x\.parquet: .* for 10 problems x repeats"):
            check_complete(pl.concat(wrong), PROBLEMS, 1, Path("x.parquet"))


def answer(prompt: list[int]) -> Row:
    return {
        "answer_text": f"{prompt}", "token_ids": [5, 6], "answer_start": 1, "large_tokens": 1,
        "small_tokens": 1, "n_switches": 1, "finish_reason": "stop", "wall_s": 0.5,
        "segments": [], "prompt_tokens": 2, "cached_tokens": 1,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def prepared(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Problem sets and cues, an empty store, and no engine to be started."""
    for name, prompts in PROMPTS.items():
        rows = [
            {"problem_id": i, "prompt": "", "gold": "", "prompt_ids": ids, "steps_prompt_ids": ids}
            for i, ids in enumerate(prompts)
        ]
        write_parquet(SETS / f"{name}.parquet", pl.DataFrame(rows, schema=SCHEMA))
    cue_set("Thus")
    monkeypatch.setattr(server, "running", lambda *_: pytest.fail("engines were started"))
    yield
    for name in ("results", "store"):
        shutil.rmtree(project / name, ignore_errors=True)


def cue_set(*words: str) -> None:
    write_text(CUES, yaml.safe_dump({"cues": list(words), "matching": "boundary"}))


def fill_store() -> None:
    """All answers of the relay, as another run has left them."""
    settings = settings_of(load(Path("params.yaml")), Target("infer", "demo", "relaygen"))
    sets = [read_parquet(SETS / f"{name}.parquet") for name in BENCHMARKS]
    with answers_store(settings, settings.method, ["Thus"]) as store:
        store.begin_session({"git_commit": "abc"})
        for task in {task.key: task for one in sets for task in tasks(one, 1)}.values():
            store.append(task.key, answer(task.prompt_ids))


def run_infer(monkeypatch: pytest.MonkeyPatch, part: int = 0) -> Path:
    receipt = DEMO / f"receipts/relaygen/{part}.json"
    arguments = ["--pair", "demo", "--method", "relaygen", "--part", str(part)]
    arguments += ["--problems", str(SETS), "--cue-set", str(CUES), "--out", str(receipt)]
    monkeypatch.setattr(sys, "argv", ["infer", *arguments])
    infer.main()
    return receipt


def run_merge(monkeypatch: pytest.MonkeyPatch, *receipts: Path, method: str = "relaygen") -> Path:
    out = DEMO / "generations" / method
    arguments = ["--pair", "demo", "--method", method, "--problems", str(SETS), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["merge", *arguments, "--receipts", *map(str, receipts)])
    merge.main()
    return out


def test_answers_that_the_store_has_are_put_together_without_an_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill_store()
    out = run_merge(monkeypatch, run_infer(monkeypatch))
    found = {name: pl.read_parquet(out / f"{name}.parquet")["answer_text"] for name in BENCHMARKS}
    assert {name: text.to_list() for name, text in found.items()} == {
        name: [str(prompt) for prompt in prompts] for name, prompts in PROMPTS.items()
    }


def test_a_prompt_that_stands_in_several_benchmarks_has_one_answer_in_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill_store()
    run_infer(monkeypatch)
    checkpoints = Path("store/answers").glob("*/*.jsonl")
    assert sum(file.read_text().count('"key"') for file in checkpoints) == 4


def test_jobs_that_ask_for_the_same_kind_of_answers_may_run_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Traces and the large model alone have one recipe; Slurm runs both at a time."""
    fill_store()
    settings = settings_of(load(Path("params.yaml")), Target("infer", "demo", "relaygen"))
    traces = Target("traces", "demo").checkpoint()
    with answers_store(settings, settings.method, ["Thus"], traces):
        assert run_infer(monkeypatch).exists()


def test_several_jobs_put_together_what_one_would(monkeypatch: pytest.MonkeyPatch) -> None:
    fill_store()
    with edited("params.yaml", ("shards: 1 ", "shards: 3 ")):
        receipts = [run_infer(monkeypatch, part) for part in range(3)]
        out = run_merge(monkeypatch, *receipts)
    assert sorted(file.stem for file in out.glob("*.parquet")) == sorted(BENCHMARKS)


def test_answers_say_who_asked_for_them_and_from_what(monkeypatch: pytest.MonkeyPatch) -> None:
    fill_store()
    out = run_merge(monkeypatch, run_infer(monkeypatch))
    origin = read_provenance(out / "chains_long.parquet")
    params = load(Path("params.yaml"))
    assert origin["recipe"] == job_of(params, Target("merge", "demo", "relaygen")).record
    assert origin["asked_by"] == job_of(params, Target("infer", "demo", "relaygen")).record
    assert origin["sessions"] == [{"git_commit": "abc"}]
    assert list(origin["inputs"]) == [str(SETS / "chains_long.parquet"), str(CUES)]


def test_answers_are_out_of_date_once_the_words_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fill_store()
    out = run_merge(monkeypatch, run_infer(monkeypatch))
    params = load(Path("params.yaml"))
    assert not [result for result in status.stale(params) if result.output == out]
    cue_set("So")
    (stale,) = {tuple(one.why) for one in status.stale(params) if one.output == out}
    assert stale == (f"{CUES}: changed",)


def test_without_all_answers_nothing_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    fill_store()
    receipt = run_infer(monkeypatch)
    shutil.rmtree("store")
    with pytest.raises(UserError, match=r"2 answers are missing, first: problem 0, repeat 0"):
        run_merge(monkeypatch, receipt)


def test_a_receipt_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        run_merge(monkeypatch, Path("none.json"))


def test_a_variant_that_has_become_the_relay_itself_leaves_the_reason_and_no_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with edited("params.yaml", ("answer_engine: small ", "answer_engine: large ")):
        out = run_merge(monkeypatch, method="answer_by_large")
    assert (out / "left_out.txt").read_text() == "for pair 'demo' it is relaygen itself\n"
    assert not list(out.glob("*.parquet"))
    assert read_provenance(out / "left_out.txt")["recipe"]["target"][0] == "merge"
