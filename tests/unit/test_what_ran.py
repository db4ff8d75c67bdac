"""What the report says of the run: from what is noted with the answers, and from logs."""

import os
from pathlib import Path
from typing import Any

import pytest

from stages.analysis.what_ran import beside_paper, durations, facts
from stages.runtime.durations import spelled

pytestmark = pytest.mark.unit

DIGEST = "25890de8276bc4c6"


def origin(in_flight: str = "16", commit: str = "abc") -> dict[str, Any]:
    """What is noted with a method's answers."""
    settings = {
        "sampling": {"temperature": 0.6}, "budget": 100, "repeats": 4, "dtype": "bfloat16",
        "seed": 7,
    }  # fmt: skip
    session = {
        "engine": "vllm 1", "container": "none", "python": "3.11", "git_commit": commit,
        "flags": {"large": ["--model", "folder/large", "--max-num-seqs", in_flight]},
        "hardware": {"cpu": "A CPU", "cores": 2, "gpus": []},
        "started": "2026-02-03T10:00:00+00:00",
    }  # fmt: skip
    asked_by = {"content": {"settings": settings, "packages": {"vllm": "1"}}}
    return {"asked_by": asked_by, "models": {"large": [DIGEST]}, "sessions": [session]}


def test_models_are_named_with_a_short_digest_and_settings_once() -> None:
    said = dict(facts([origin(), origin()], {}))
    assert said["Model, large"] == "folder/large 25890de827"
    assert said["Sampling"] == "temperature 0.6"
    assert said["Hardware"] == "A CPU, 2 cores"
    assert said["Begun"] == "2026-02-03"


def test_what_differed_between_runs_is_said_for_each() -> None:
    said = dict(facts([origin(), origin(in_flight="1", commit="def")], {}))
    assert said["Answers in flight"] == "16; 1"
    assert said["Commit"] == "abc; def"


def test_a_prompt_names_the_benchmarks_that_are_asked_in_it() -> None:
    said = dict(facts([origin()], {"aime25": {"plain": "{problem}"}, "x": {"plain": "{problem}"}}))
    assert said["Prompt, plain (AIME 2025, x)"] == "{problem}"


SETUP = {"all": {"Seed": "7", "Engine": "vllm 0"}, "qwen3": {"Model, large": "folder/large"}}


def test_the_papers_value_stands_beside_what_differs_from_it_alone() -> None:
    rows = {what: paper for what, _, paper in beside_paper(facts([origin()], {}), SETUP, "qwen3")}
    assert {what for what, paper in rows.items() if paper} == {"Engine"}
    assert rows["Engine"] == "vllm 0"


def test_a_pair_that_is_none_of_the_papers_has_models_of_its_own() -> None:
    setup = {**SETUP, "qwen3": {"Model, large": "another"}}
    rows = {what: paper for what, _, paper in beside_paper(facts([origin()], {}), setup, None)}
    assert rows["Model, large"] == ""


def ran(folder: Path, name: str, ended: float) -> None:
    """Note a job of 1.5 seconds."""
    (folder / f"{name}.tsv").write_text("s\th:m:s\n1.5\t0:00:01\n")
    os.utime(folder / f"{name}.tsv", (ended, ended))


def test_the_jobs_of_a_stage_are_added_up(tmp_path: Path) -> None:
    for at, name in enumerate(("infer-large-0", "infer-small-0", "cues", "cue_set-large")):
        ran(tmp_path, name, 100 + 10 * at)
    assert durations(tmp_path, ["infer", "cues", "score"]) == {"infer": 3.0, "cues": 1.5}


def test_time_in_which_jobs_ran_side_by_side_counts_once(tmp_path: Path) -> None:
    ran(tmp_path, "traces-0", 100)
    ran(tmp_path, "traces-1", 101)
    assert durations(tmp_path, ["traces"]) == {"traces": 2.5}


def test_what_was_asked_for_together_belongs_to_the_answers(tmp_path: Path) -> None:
    ran(tmp_path, "together-large+small-0", 100)
    ran(tmp_path, "infer-large-0", 110)
    assert durations(tmp_path, ["infer"]) == {"infer": 3.0}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (316, "5 min 16 s"), (120, "2 min"), (7440, "2 h 4 min")],
)
def test_durations_are_in_words(seconds: float, text: str) -> None:
    assert spelled(seconds) == text
