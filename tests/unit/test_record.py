"""Which stages of DVC are recorded after a run, and which are not."""

import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from stages.config.params import load
from stages.config.schema import Params
from stages.runtime.errors import UserError
from stages.tracking import record, status
from stages.tracking.record import stage_of, stages
from stages.tracking.status import Result
from stages.tracking.targets import Target, targets

pytestmark = pytest.mark.unit

PARAMS = load(Path("params.yaml"))


def result(stage: str, name: str | None = None, *why: str, file: str = "") -> Result:
    path = Path(f"results/{stage}-{name}{file}")
    return Result(path, Target(stage, "demo", name), [], list(why))


@pytest.fixture(scope="module")
def in_dvc_yaml(project: Path) -> set[str]:
    """The stages of dvc.yaml, by name."""
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    Repo.init(str(project))
    return {stage.addressing for stage in Repo(str(project)).index.stages}


def test_every_result_belongs_to_a_stage_of_dvc_and_every_stage_makes_one(
    in_dvc_yaml: set[str],
) -> None:
    without = {"recipes", *record.shared(PARAMS)}
    assert {stage_of(target, PARAMS) for target in targets(PARAMS)} | without == in_dvc_yaml


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (Target("tokenizer", "demo"), "prepare@demo"),
        (Target("prepare", "demo", "chains_long"), "prepare@demo"),
        (Target("traces", "demo"), "traces@demo"),
        (Target("cue_set", "demo", "relaygen"), "cue_set@demo"),
        (Target("infer", "demo", "relaygen"), "infer@demo-relaygen"),
        (Target("merge", "demo", "relaygen"), "infer@demo-relaygen"),
        (Target("merge", "demo", "answer_by_large"), "ablation_infer@demo-answer_by_large"),
        (Target("tables"), "tables"),
    ],
)
def test_stages_are_named_as_in_dvc_yaml(target: Target, name: str) -> None:
    assert stage_of(target, PARAMS) == name


def test_a_stage_is_recorded_if_all_of_its_results_are_up_to_date() -> None:
    found = [
        result("traces"),
        result("margins", None, "code: stages.margins"),
        result("merge", "relaygen", file="short"),
        result("merge", "relaygen", "settings: budget", file="long"),
        result("merge", "large"),
        Result(Path("results/elsewhere.parquet"), None, [], ["it does not say"]),
    ]
    assert stages(found, PARAMS) == (
        ["traces@demo", "infer@demo-large"],
        ["infer@demo-relaygen", "margins@demo"],
    )


def test_the_stage_that_asks_for_all_methods_is_recorded_once_all_have_their_answers() -> None:
    every = [result("merge", method) for method in PARAMS.all_methods]
    assert "together@demo" in stages(every, PARAMS)[0]
    assert "together@demo" not in stages(every[1:], PARAMS)[0]
    stale = result("merge", next(iter(PARAMS.all_methods)), "settings: budget")
    assert "together@demo" not in stages([stale, *every[1:]], PARAMS)[0]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run, of results that are up to date but for one."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command[1:])
        failed = any("margins" in part for part in command)
        return subprocess.CompletedProcess(command, int(failed), "", "ERROR: no\n such output")

    def found(params: Params) -> list[Result]:
        return [result("traces"), result("cues", None, "settings: seed")]

    monkeypatch.setattr("stages.tracking.record.subprocess.run", run)
    monkeypatch.setattr(status, "results", found)
    return commands


def test_dvc_is_told_of_what_is_up_to_date_and_the_others_are_named(
    called: list[list[str]],
) -> None:
    assert record.record(PARAMS) == ["cues@demo"]
    (command,) = called
    assert command[:4] == ["-m", "dvc", "commit", "--force"]
    assert {"recipes", "traces@demo"} <= set(command)
    assert "cues@demo" not in command


def test_where_dvc_fails_it_says_why_in_one_line(
    called: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "results", lambda params: [result("margins")])
    with pytest.raises(UserError) as caught:
        record.record(PARAMS)
    assert str(caught.value) == "dvc commit: ERROR: no such output"
