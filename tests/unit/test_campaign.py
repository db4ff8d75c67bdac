"""The kill campaign's own eyes: what is wrong with a run is seen, what is right is not named."""

import json
from pathlib import Path
from random import Random

import polars as pl
import pytest

from tests.campaign import outcome
from tests.campaign.events import TARGETS, draw, role
from tests.end_to_end.conftest import Row

pytestmark = pytest.mark.unit
REQUEST = {
    "model": "large", "salt": "a", "prompt_tokens": 9, "seed": 1, "server": 1, "margins": False,
}  # fmt: skip
NEXT = {**REQUEST, "prompt_tokens": 20}
OTHER = {**REQUEST, "salt": "b"}
MARGINS = {
    "model": "small", "salt": None, "prompt_tokens": 9, "seed": None, "server": 2, "margins": True,
}  # fmt: skip


def finished(folder: Path) -> Path:
    """A checkout whose run has gone through."""
    for pattern in (*outcome.FILES, *outcome.PARQUET):
        file = folder / pattern.replace("**/*", "scores").replace("*", "csv")
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            pl.DataFrame({"correct": [True], "wall_s": [len(folder.name)]}).write_parquet(file)
        else:
            file.write_text("7")
    ask(folder, REQUEST, NEXT, OTHER, MARGINS)
    keep(folder, "a", "b")
    return folder


def ask(folder: Path, *requests: Row) -> None:
    (folder / "requests.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in requests))


def keep(folder: Path, *keys: str) -> None:
    lines = [{"session": {}}, *({"key": [key, "0"], "row": {}} for key in keys)]
    store = folder / "store/answers/recipe/1of1.jsonl"
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that is like `whole`, but for the time that it took."""
    return finished(tmp_path / "run")


def wrong_with(run: Path, base: Path) -> list[str]:
    """What is said of a run."""
    whole, temporary = finished(base / "undisturbed"), base / "temporary"
    temporary.mkdir(exist_ok=True)
    return list(outcome.problems(run, temporary, whole))


def test_a_run_that_took_another_time_is_like_an_undisturbed_one(run: Path, tmp_path: Path) -> None:
    assert wrong_with(run, tmp_path) == []


@pytest.mark.parametrize("name", ["results/demo/replay.json", "results/demo/scores.parquet"])
def test_results_that_are_others_or_missing_are_named(run: Path, tmp_path: Path, name: str) -> None:
    file = run / name
    if file.suffix == ".parquet":
        pl.DataFrame({"correct": [False], "wall_s": [3]}).write_parquet(file)
    else:
        file.write_text("8")
    assert wrong_with(run, tmp_path) == [f"{name} differs"]
    file.unlink()
    assert wrong_with(run, tmp_path) == [f"{name} differs"]


def of_server(number: int, *requests: Row) -> list[Row]:
    return [{**one, "server": number} for one in requests]


def test_what_was_in_flight_as_its_server_ended_may_be_asked_for_again(
    run: Path, tmp_path: Path
) -> None:
    ask(run, *of_server(1, REQUEST, NEXT), *of_server(3, REQUEST, NEXT, OTHER), MARGINS)
    assert wrong_with(run, tmp_path) == []


def test_what_was_finished_before_may_not(run: Path, tmp_path: Path) -> None:
    ask(run, *of_server(1, REQUEST, NEXT, OTHER), *of_server(3, REQUEST, NEXT, OTHER), MARGINS)
    assert [line.split(" {")[0] for line in wrong_with(run, tmp_path)] == 2 * ["asked 2 times for"]


def test_two_margins_may_have_been_in_flight(run: Path, tmp_path: Path) -> None:
    longer = {**MARGINS, "prompt_tokens": 10}
    answers = (REQUEST, NEXT, OTHER)
    ask(finished(tmp_path / "whole"), *answers, MARGINS, longer)
    ask(run, *answers, *of_server(2, MARGINS, longer), *of_server(3, MARGINS, longer))
    found = outcome.asked_again(run, tmp_path / "whole")
    assert list(found) == []


def test_a_request_that_is_tried_again_at_once_counts_once(run: Path, tmp_path: Path) -> None:
    ask(run, REQUEST, REQUEST, NEXT, OTHER, MARGINS)
    assert wrong_with(run, tmp_path) == []


def test_an_answer_that_is_kept_twice_is_named(run: Path, tmp_path: Path) -> None:
    keep(run, "a", "b", "a")
    (line,) = wrong_with(run, tmp_path)
    assert line.endswith("2 times ('a', '0')")


@pytest.mark.parametrize(
    "name",
    ["temporary/folder/socket", "run/results/demo/.cues.csv.0.tmp", "run/.snakemake/locks/0"],
)
def test_a_file_that_is_left_behind_is_named(run: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    assert f"left behind: {file}" in wrong_with(run, tmp_path)


def test_every_target_is_told_by_its_command_line() -> None:
    lines = {
        "dvc": "python bin/dvc repro",
        "snakemake": "python bin/snakemake --cores 2",
        "stage": "python -m stages.infer --pair demo",
        "leader": "python -m stages.engine.serve --served-model-name model",
        "core": "python -c sleep EngineCore",
        "": "bash -c snakemake",
    }
    assert {role(line.split()): name for name, line in lines.items()} == {
        name: name for name in (*TARGETS, "")
    }


def test_a_seed_draws_the_same_events_of_every_kind() -> None:
    first, second = ([draw(random, "dvc") for _ in range(200)] for random in (Random(1), Random(1)))
    assert first == second
    assert {event.kind for event in first} == {*TARGETS, "two at once", "all"}
