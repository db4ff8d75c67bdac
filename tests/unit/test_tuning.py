"""How a policy is chosen: thresholds, rounds, and on which problems."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from stages import tune
from stages.analysis.tuning import (
    Candidate,
    Outcome,
    Threshold,
    at_content,
    by_mixture,
    candidates,
    check_problems,
    chosen,
    grid_thresholds,
    halved,
    rounds,
    thresholds,
    values,
)
from stages.config.params import load
from stages.generation.answering import Task
from stages.generation.tuning import Panel
from stages.methods.base import Method
from stages.runtime.errors import UserError
from tests.unit.conftest import params_with

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))
MARGINS = pl.DataFrame(
    {
        "token": ["4", " 2", "so", "7", "9", "8"],
        "margin": [0.2, 0.4, 0.0, 0.6, 0.8, 0.1],
        "stage": ["reasoning"] * 5 + ["prompt"],
    }
)


def outcome(name: str, n: int, excess: float, share: float) -> Outcome:
    values = {"excess": excess, "shown_excess": excess, "large_utilization": share}
    return Outcome(Candidate(name, {}), n, values)


def test_thresholds_are_quantiles_of_the_margins_at_content_tokens_of_the_reasoning() -> None:
    found = thresholds(at_content(MARGINS, "[0-9]"), [0.0, 0.5, 1.0])
    assert [(one.value, one.quantile) for one in found] == [(0.2, 0.0), (0.5, 0.5), (0.8, 1.0)]


def test_equal_thresholds_are_one() -> None:
    found = thresholds(at_content(MARGINS, "so"), [0.1, 0.9])
    assert [(one.value, one.quantile) for one in found] == [(0.001, 0.1)]


def test_traces_without_content_are_told_in_one_line() -> None:
    with pytest.raises(UserError, match=r"no token of the traces .* content: '\[A-D\]'"):
        at_content(MARGINS, "[A-D]")


# Half of the margins are low, half are close to 1.
TWO_KINDS = pl.Series([0.2, 0.3, 0.4, 0.35, 0.25, 0.99, 0.995, 0.998, 0.992, 0.997])


def test_the_mixtures_threshold_lies_between_two_kinds_of_margins() -> None:
    found = by_mixture(TWO_KINDS)
    assert 0.4 < found.value < 0.99
    assert (found.quantile, found.by) == (0.5, "mixture")


def test_margins_of_one_kind_are_told_in_one_line() -> None:
    with pytest.raises(UserError, match="all of one kind"):
        by_mixture(pl.Series([0.5] * 9))


@pytest.mark.parametrize(
    ("mixture", "by"), [(False, ["quantile"]), (True, ["quantile", "mixture"])]
)
def test_the_mixtures_threshold_is_tried_where_it_is_asked_for(
    mixture: bool, by: list[str]
) -> None:
    block = PARAMS.tune.model_copy(update={"quantiles": [0.1], "mixture": mixture})
    assert [one.by for one in grid_thresholds(TWO_KINDS, block)] == by


def test_each_policy_is_tried_with_each_threshold_and_one_without_any_once() -> None:
    line = {"kind": "relay", "large": "large", "small": "small", "cues": "pair"}
    early = line | {"early": {"margin": "threshold"}}
    block = PARAMS.tune.model_copy(update={"policies": {"early": early, "plain": line}})
    both = [Threshold(0.2, 0.1, "quantile"), Threshold(0.9, 0.5, "quantile")]
    found = list(candidates(block, both))
    assert [one.name for one in found] == ["early@0.2", "early@0.9", "plain"]
    assert [one.line.get("early") for one in found] == [{"margin": 0.2}, {"margin": 0.9}, None]


@pytest.mark.parametrize(
    ("n_candidates", "first", "n_problems", "expected"),
    [
        (12, 12, 70, [(12, 12), (6, 24), (3, 48), (2, 70)]),
        (1, 12, 20, [(1, 12), (1, 20)]),
        (5, 100, 20, [(5, 20)]),
    ],
)
def test_each_round_has_half_as_many_policies_and_twice_the_problems(
    n_candidates: int, first: int, n_problems: int, expected: list[tuple[int, int]]
) -> None:
    assert list(rounds(n_candidates, first, n_problems)) == expected


def test_the_better_half_goes_on() -> None:
    shares = {"a": 50.0, "b": 5.0, "c": 10.0, "d": 40.0, "wrong": 1.0, "e": 60.0}

    def of(one: Candidate, n: int) -> Outcome:
        return outcome(one.name, n, 9.0 if one.name == "wrong" else 0.0, shares[one.name])

    found = list(halved([Candidate(name, {}) for name in shares], 4, 16, of))
    assert [one.candidate.name for one in found if one.n_problems == 8] == ["b", "c", "d"]
    assert [one.candidate.name for one in found if one.n_problems == 16] == ["b", "c"]


def test_the_lowest_share_is_chosen_among_those_that_lose_little_on_all_problems() -> None:
    found = [
        outcome("few problems", 8, 0.0, 1.0),
        outcome("wrong", 16, 3.0, 2.0),
        outcome("right", 16, 0.0, 9.0),
        outcome("dear", 16, 0.0, 40.0),
    ]
    best = chosen(found, 16)
    assert best
    assert best.candidate.name == "right"
    assert chosen(found[:2], 16) is None


def test_only_points_beyond_the_limit_are_too_many() -> None:
    answers = pl.DataFrame({"large_tokens": [1, 2], "small_tokens": [9, 8], "n_switches": [2, 4]})
    ids = {"problem_id": [0, 1], "repeat": [0, 0]}
    scores, large = (pl.DataFrame({**ids, "correct": [True, one]}) for one in (False, True))
    row = values(answers, scores, large, 1.5, 10, 1)
    assert (row["difference"], row["excess"]) == (-50.0, 48.5)
    assert (row["large_utilization"], row["mean_tokens"], row["mean_switches"]) == (15.0, 10.0, 3.0)
    assert values(answers, large, scores, 1.5, 10, 1)["excess"] == 0.0


def test_what_few_problems_do_not_show_rules_no_policy_out() -> None:
    answers = pl.DataFrame({"large_tokens": [1], "small_tokens": [9], "n_switches": [2]})
    ids = {"problem_id": list(range(12)), "repeat": [0] * 12}
    large = pl.DataFrame({**ids, "correct": [True] * 12})
    one, most = (
        values(answers, pl.DataFrame({**ids, "correct": right}), large, 1.5, 2000, 1)
        for right in ([False] + [True] * 11, [False] * 11 + [True])
    )
    assert one["excess"] > 0 == one["shown_excess"]
    assert most["shown_excess"] > 0


def answered(self: Panel, name: str, method: Method, todo: Sequence[Task]) -> pl.DataFrame:
    """Answers to each of which the paper's relay is wrong; small_token takes least of L."""
    right = [str(task.problem) for task in todo]
    by_large = {"large": 10, "relaygen": 6}.get(name, 1 if name.startswith("small_token") else 3)
    return pl.DataFrame(
        {
            "problem_id": [task.problem for task in todo],
            "repeat": [0] * len(todo),
            "answer_text": [rf"\boxed{{{'no' if name == 'relaygen' else one}}}" for one in right],
            "finish_reason": ["stop"] * len(todo),
            "large_tokens": [by_large] * len(todo),
            "small_tokens": [10 - by_large] * len(todo),
            "n_switches": [2] * len(todo),
        }
    )


@pytest.fixture
def calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which nothing but the calibration set was prepared."""
    root = Path.cwd()
    for name in ("demo_pair", "workflow", "params.yaml", "containers", "stages"):
        (tmp_path / name).symlink_to(root / name)
    folder = tmp_path / "results/demo"
    (folder / "problems").mkdir(parents=True)
    ids = list(range(30))
    problems = pl.DataFrame(
        {"problem_id": ids, "prompt_ids": [[i] for i in ids], "gold": list(map(str, ids))}
    )
    problems.write_parquet(folder / "problems/chains_calibration.parquet")
    MARGINS.with_columns(problem_id=0, repeat=0).write_parquet(folder / "margins.parquet")
    (folder / "cue_sets").mkdir()
    (folder / "cue_sets/relaygen.yaml").write_text("[Thus]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Panel, "answers", answered)
    monkeypatch.setattr(sys, "argv", ["tune", "--pair", "demo"])
    return folder


def tuned(folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    tune.main()
    line = yaml.safe_load((folder / "tune/chosen.yaml").read_text())
    return pl.read_csv(folder / "tune/grid.csv"), line


def test_a_policy_is_chosen_without_any_benchmark(calibrated: Path) -> None:
    _, line = tuned(calibrated)
    assert line["tuned"]["leave"] == {"at": "token", "n": 1}
    assert [path.stem for path in (calibrated / "problems").iterdir()] == ["chains_calibration"]


def test_the_grid_has_every_policy_beside_the_large_model_and_the_papers_relay(
    calibrated: Path,
) -> None:
    grid, _ = tuned(calibrated)
    assert grid["policy"].to_list()[:2] == ["large", "relaygen"]
    tried = {name.split("@")[0] for name in grid["policy"]} - {"large", "relaygen"}
    assert tried == set(PARAMS.tune.policies)
    assert grid["chosen"].sum() == 1


def test_traces_that_are_there_already_cannot_be_answered_anew() -> None:
    traces = {"ours": {"source": "traces", "path": "traces.jsonl"}}
    pair = params_with("pairs.demo.calibration", traces).pair("demo")
    with pytest.raises(UserError, match=r"^pairs\.demo\.calibration: .* tune needs a problem set$"):
        check_problems("demo", pair)


@pytest.mark.parametrize(("by", "expected"), [("mixture", (0.2, 0.8)), ("0.5", (0.49, 0.51))])
def test_a_threshold_without_answers_needs_margins_alone(
    calibrated: Path, monkeypatch: pytest.MonkeyPatch, by: str, expected: tuple[float, float]
) -> None:
    (calibrated / "problems/chains_calibration.parquet").unlink()
    monkeypatch.setattr(Panel, "answers", None)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--policy", "small_token", "--by", by])
    tune.main()
    line = yaml.safe_load((calibrated / "tune/chosen.yaml").read_text())["tuned"]
    assert expected[0] < line["early"]["margin"] < expected[1]
    assert line["leave"] == {"at": "token", "n": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "mixture"], r"^--by needs --policy: a line of tune\.policies .*small_token$"),
        (["--policy", "nothing", "--by", "0.1"], "^--by needs --policy"),
        (["--policy", "small_token"], "^--policy needs --by: give mixture, or a quantile"),
        (["--policy", "small_token", "--by", "1.5"], r"^--by 1\.5: give mixture, or a quantile"),
        (["--policy", "small_token", "--by", "much"], "^--by much: give mixture, or a quantile"),
    ],
)
def test_a_choice_without_answers_that_lacks_something_is_one_line(
    calibrated: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.setattr(sys, "argv", [*sys.argv, *options])
    with pytest.raises(UserError, match=message):
        tune.main()
