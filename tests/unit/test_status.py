"""Which results are out of date, and why; what Snakemake is told of it."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from stages.config.params import load
from stages.config.schema import Params
from stages.tracking import host, memory, provenance, recipes, status
from stages.tracking.frames import write_csv, write_parquet
from stages.tracking.notes import note_beside, write_provenance
from stages.tracking.recipes import Job, job_of
from stages.tracking.status import UNKNOWN, reasons, results, set_time, stale, to_force
from stages.tracking.targets import Target
from tests.unit.conftest import edited, forget

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("project")]

DEMO = Path("results/demo")
MARGINS, CUES = DEMO / "margins.parquet", DEMO / "cues.csv"
ANSWERS = DEMO / "generations/relaygen/chains_short.parquet"
YEAR = 365 * 86400


@pytest.fixture(autouse=True)
def empty(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No results and nothing remembered, before and after each test."""
    monkeypatch.setattr(host, "here_and_now", dict)
    remove(project)
    yield
    remove(project)


def remove(project: Path) -> None:
    for name in ("results/demo", "results/qwen3"):
        shutil.rmtree(project / name, ignore_errors=True)
    (project / memory.FOLDER / "records.json").unlink(missing_ok=True)
    forget()


def demo() -> Params:
    return load(Path("params.yaml"))


def job(stage: str, name: str | None = None) -> Job:
    return job_of(demo(), Target(stage, "demo", name))


def made_margins(value: float = 0.5) -> Path:
    """margins.parquet, as its stage would write it."""
    origin = {"recipe": job("margins").record, "inputs": {}}
    write_parquet(MARGINS, pl.DataFrame({"margin": [value]}), origin)
    return MARGINS


def made_cues() -> Path:
    """cues.csv, made from margins.parquet."""
    write_csv(CUES, pl.DataFrame({"cue": ["Thus"]}))
    write_provenance(provenance.derived(job("cues"), [MARGINS]), CUES)
    return CUES


def made_answers() -> Path:
    """A method's answers to one benchmark."""
    origin = {
        "recipe": job("merge", "relaygen").record,
        "asked_by": job("infer", "relaygen").record,
        "inputs": {},
    }
    write_parquet(ANSWERS, pl.DataFrame({"problem_id": [0]}), origin)
    return ANSWERS


def aged(path: Path, seconds: float = YEAR) -> None:
    """Have a file be older."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def out_of_date() -> dict[Path, list[str]]:
    """{path: why} of what is out of date."""
    return {result.path: result.why for result in stale(demo())}


def test_what_was_just_made_is_up_to_date() -> None:
    made_margins()
    made_cues()
    made_answers()
    found = {result.path: result.target for result in results(demo())}
    assert found == {
        MARGINS: Target("margins", "demo"),
        CUES: Target("cues", "demo"),
        ANSWERS: Target("merge", "demo", "relaygen"),
    }
    assert out_of_date() == {}


def test_of_changed_code_the_modules_are_named() -> None:
    made_margins()
    made_cues()
    with edited("stages/analysis/cue_effects.py", end="\nCHANGED = True\n"):
        assert out_of_date() == {CUES: ["code: stages.analysis.cue_effects"]}


def test_of_changed_params_the_settings_are_named() -> None:
    made_margins()
    made_cues()
    with edited("params.yaml", ("min_delta: 0.0", "min_delta: 0.1")):
        assert out_of_date() == {CUES: ["settings: cues"]}
    assert out_of_date() == {}


def test_answers_are_out_of_date_with_the_stage_that_asked_for_them() -> None:
    made_answers()
    with edited("params.yaml", ("budget: 1024 ", "budget: 512 ")):
        assert out_of_date() == {ANSWERS: ["settings: budget"]}
    with edited("stages/merge.py", end="\nCHANGED = True\n"):
        assert out_of_date() == {ANSWERS: ["code: stages.merge"]}


def test_a_changed_input_is_named() -> None:
    made_margins()
    made_cues()
    made_margins(value=0.6)
    assert out_of_date() == {CUES: [f"{MARGINS}: changed"]}


def test_an_input_that_was_made_again_with_the_same_content_changes_nothing() -> None:
    made_margins()
    made_cues()
    made_margins()
    assert out_of_date() == {}


def test_a_removed_input_is_named() -> None:
    made_margins()
    made_cues()
    MARGINS.unlink()
    assert out_of_date() == {CUES: [f"{MARGINS}: removed"]}


def test_a_table_that_was_changed_by_hand_is_out_of_date() -> None:
    made_margins()
    made_cues()
    CUES.write_text("cue\nSo\n")
    assert out_of_date() == {CUES: [UNKNOWN]}


@pytest.mark.parametrize("content", ["PAR1", "", None])
def test_a_parquet_file_that_is_damaged_or_says_nothing_is_out_of_date(content: str | None) -> None:
    MARGINS.parent.mkdir(parents=True)
    if content is None:
        pl.DataFrame({"margin": [0.5]}).write_parquet(MARGINS)
    else:
        MARGINS.write_text(content)
    assert out_of_date() == {MARGINS: [UNKNOWN]}


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_result_with_a_damaged_note_is_out_of_date(content: str) -> None:
    made_margins()
    made_cues()
    note_beside(CUES).write_text(content)
    assert out_of_date() == {CUES: [UNKNOWN]}


def test_a_note_that_was_replaced_is_read_again_though_its_table_is_the_same() -> None:
    # As after `dvc checkout` of a run with the same values.
    made_margins()
    made_cues()
    before = note_beside(CUES).read_text()
    aged(CUES)
    aged(note_beside(CUES))
    assert out_of_date() == {}
    with edited("stages/cues.py", end="\nCHANGED = True\n"):
        write_provenance(provenance.derived(job("cues"), [MARGINS]), CUES)
    assert out_of_date() == {CUES: ["code: stages.cues"]}
    note_beside(CUES).write_text(before)
    assert out_of_date() == {}


def test_results_of_another_pair_are_not_of_this_run() -> None:
    other = job_of(demo(), Target("margins", "demo")).record | {
        "target": ["margins", "qwen3", None]
    }
    write_parquet(
        Path("results/qwen3/margins.parquet"),
        pl.DataFrame({"margin": [0.5]}),
        {"recipe": other, "inputs": {"results/qwen3/traces.parquet": "0" * 16}},
    )
    assert out_of_date() == {}


def test_results_in_several_formats_are_each_looked_at() -> None:
    files = [DEMO / f"t.{suffix}" for suffix in ("csv", "md")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("a\n")
    write_provenance(provenance.derived(job("cues"), []), *files)
    files[1].write_text("b\n")
    assert out_of_date() == {files[1]: [UNKNOWN]}


def test_reasons_are_by_stage_each_said_once() -> None:
    made_margins()
    made_cues()
    made_answers()
    second = ANSWERS.with_name("chains_long.parquet")
    second.write_bytes(ANSWERS.read_bytes())
    with edited("params.yaml", ("budget: 1024 ", "budget: 512 ")):
        found = reasons(stale(demo()))
    assert found == {"merge (demo, relaygen)": ["settings: budget"]}


def test_snakemake_is_told_of_a_folder_where_that_is_a_rules_output() -> None:
    made_margins()
    made_answers()
    with edited("params.yaml", ("dtype: float32 ", "dtype: float16 ")):
        assert sorted(to_force(demo())) == [str(ANSWERS.parent), str(MARGINS)]


@pytest.mark.parametrize("content", ["PAR1", None])
def test_of_damaged_answers_it_is_told_of_the_folder_too(content: str | None) -> None:
    made_answers()
    if content:
        ANSWERS.write_text(content)
    else:
        pl.DataFrame({"problem_id": [0]}).write_parquet(ANSWERS)
    assert to_force(demo()) == [str(ANSWERS.parent)]


def test_what_is_up_to_date_is_no_older_than_what_it_was_made_from() -> None:
    made_margins()
    made_cues()
    aged(CUES)
    assert to_force(demo()) == []
    assert CUES.stat().st_mtime_ns >= MARGINS.stat().st_mtime_ns


def test_what_is_out_of_date_keeps_its_time() -> None:
    made_margins()
    made_cues()
    aged(CUES)
    then = CUES.stat().st_mtime_ns
    with edited("stages/cues.py", end="\nCHANGED = True\n"):
        assert to_force(demo()) == [str(CUES)]
    assert CUES.stat().st_mtime_ns == then


def test_a_folders_times_are_set_with_its_files() -> None:
    made_margins()
    made_answers()
    timestamp = ANSWERS.parent / ".snakemake_timestamp"
    timestamp.touch()
    for path in (ANSWERS, timestamp, ANSWERS.parent):
        aged(path)
    (result,) = (one for one in results(demo()) if one.path == ANSWERS)
    set_time(result._replace(inputs=[str(MARGINS)]))
    for path in (ANSWERS, timestamp, ANSWERS.parent):
        assert path.stat().st_mtime_ns == MARGINS.stat().st_mtime_ns


def test_files_that_time_is_set_for_form_a_chain() -> None:
    made_margins()
    made_cues()
    words = DEMO / "cue_sets/relaygen.yaml"
    words.parent.mkdir()
    words.write_text("cues: [Thus]\n")
    write_provenance(provenance.derived(job("cue_set", "relaygen"), [CUES]), words)
    for path in (CUES, words):
        aged(path)
    assert to_force(demo()) == []
    times = [path.stat().st_mtime_ns for path in (MARGINS, CUES, words)]
    assert times == sorted(times)


def test_looking_writes_the_recipes_of_today() -> None:
    assert list(results(demo())) == []
    target = Target("cues", "demo")
    assert recipes.read(target.path) == job_of(demo(), target).recipe
    assert Path("results") == status.RESULTS


def test_a_receipt_of_other_code_is_out_of_date_so_that_its_answers_are_asked_for_again() -> None:
    receipt = DEMO / "receipts/relaygen/0.json"
    receipt.parent.mkdir(parents=True)
    content = {"recipe": job("infer", "relaygen").record, "inputs": {}, "answers": 1}
    receipt.write_text(json.dumps(content))
    assert to_force(demo()) == []
    with edited("stages/methods/relay.py", end="X = 1\n"):
        assert to_force(demo()) == [str(receipt)]


def test_a_name_with_a_dot_is_not_a_result_of_the_name_before_it() -> None:
    folder = DEMO / "cue_sets"
    folder.mkdir(parents=True)
    for name in ("v1", "v1.1"):
        (folder / f"{name}.yaml").write_text("cues: []\n", encoding="utf-8")
        write_provenance({}, folder / f"{name}.yaml")
    assert sorted(status.made()) == [folder / "v1.1.yaml", folder / "v1.yaml"]
