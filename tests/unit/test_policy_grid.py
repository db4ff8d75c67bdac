"""Replaying policies on traces with margins: what is read, what comes out, what is refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from stages import replay_policies
from stages.analysis.plots import policies_by_threshold
from stages.analysis.policy_grid import check, in_words, speeds_in, speedup, with_margins
from stages.analysis.replay import Counts, Speeds
from stages.analysis.trace_files import Trace
from stages.methods.base import Answer, Marks, Segment
from stages.methods.policies import Policy
from stages.runtime.errors import UserError
from tests.conftest import encode

pytestmark = pytest.mark.unit
WHERE = Path("margins.parquet")
TEXT = f"<think>\nWe add 3 and 4. Thus it is 7.{Marks().think_end}\n\n7<|im_end|>"


def margins_of(ids: list[int], n_read: int, value: float = 0.5) -> pl.DataFrame:
    """Rows of margins.parquet: two tokens of a prompt, then the first `n_read` of a trace."""
    n = n_read + 2
    return pl.DataFrame(
        {
            "problem_id": [0] * n,
            "repeat": [0] * n,
            "token_id": [1, 2, *ids[:n_read]],
            "token": ["a", "b", *("7" for _ in ids[:n_read])],
            "margin": [None, 0.1, *[value] * n_read],
            "stage": ["prompt"] * 2 + ["reasoning"] * n_read,
        }
    )


def test_tokens_that_the_small_model_did_not_read_count_as_sure() -> None:
    trace = Trace("t", 0, [5, 6, 7])
    ((found, sure),) = with_margins([trace], margins_of([5, 6, 7], 2), WHERE)
    assert found is trace
    assert sure.tolist() == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("traces", [[], [[5, 9]], [[5, 6], [5, 6]]])
def test_margins_of_other_traces_are_told_in_one_line(traces: list[list[int]]) -> None:
    given = [Trace("row 1", 0, ids) for ids in traces]
    with pytest.raises(UserError, match=r"^margins\.parquet: margins of other tokens, "):
        list(with_margins(given, margins_of([5, 6], 2), WHERE))


@pytest.mark.parametrize("rule", [{"loop": 3}, {"answer_margin": 0.5}])
def test_what_the_small_model_would_have_to_write_itself_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"^mine: {next(iter(rule))} goes by "):
        check("mine", Policy.model_validate(rule))


def test_what_is_written_for_nothing_takes_the_small_models_time() -> None:
    counts = Counts()
    segments = [Segment("large", "reasoning", 50, None, 0.0)]
    counts.add(0, Answer(segments=[*segments, Segment("small", "reasoning", 50, None, 0.0)]))
    speeds = Speeds(large_tps=10, small_tps=50, handoff_ms=1000)
    # 100 tokens of L take 10 s; 50 of L 5 s, 50 of S 1 s, a hand-off 1 s.
    assert speedup(counts.values(), 0, speeds) == pytest.approx(10 / 7)
    assert speedup(counts.values(), 50, speeds) == pytest.approx(10 / 8)


def test_speeds_are_those_of_both_models_and_the_papers_relay(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "pair": ["demo"] * 3,
            "method": ["large", "small", "relaygen"],
            "speedup": [1.0, 5.0, 2.0],
            "tokens_per_s": [10.0, 50.0, 20.0],
            "handoff_ms": [None, None, 30.0],
        }
    )
    table.write_csv(tmp_path / "speed.csv")
    assert speeds_in(tmp_path / "speed.csv") == Speeds(10.0, 50.0, 30.0)
    table.head(2).write_csv(tmp_path / "speed.csv")
    assert speeds_in(tmp_path / "speed.csv") is None
    assert speeds_in(tmp_path / "nowhere.csv") is None


@pytest.fixture
def calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one trace and its margins, which are low at every token."""
    root, folder = Path.cwd(), tmp_path / "results/demo"
    for name in ("demo_pair", "workflow", "params.yaml", "containers", "stages"):
        (tmp_path / name).symlink_to(root / name)
    (folder / "problems").mkdir(parents=True)
    (folder / "problems/tokenizer.json").symlink_to(root / "demo_pair/large/tokenizer.json")
    (folder / "cue_sets").mkdir()
    (folder / "cue_sets/relaygen.yaml").write_text("[Thus]\n")
    ids = encode(TEXT)
    pl.DataFrame({"problem_id": [0], "token_ids": [ids]}).write_parquet(folder / "traces.parquet")
    n = len(encode(TEXT[: TEXT.index("\n\n7")]))
    rows = margins_of(ids, n).with_columns(
        margin=pl.Series([None, 0.1, *np.linspace(0.2, 0.9, n)]),
    )
    rows.write_parquet(folder / "margins.parquet")
    monkeypatch.chdir(tmp_path)
    return folder


def replayed(monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    monkeypatch.setattr(sys, "argv", ["replay_policies", "--pair", "demo", *more])
    replay_policies.main()


def test_the_large_models_share_grows_with_the_threshold(
    calibrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed(monkeypatch, "--policy", "small_token")
    grid = pl.read_csv(calibrated / "replay/policies.csv")
    assert grid["policy"].unique().to_list() == ["small_token"]
    assert grid["threshold"].is_sorted()
    assert grid["large_utilization"].is_sorted()
    assert 0 < max(grid["large_utilization"].to_list()) < 100
    assert (calibrated / "replay/policies-by-threshold.png").is_file()


def test_all_policies_stand_beside_the_papers_relay_and_what_is_not_known_is_said(
    calibrated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replayed(monkeypatch)
    said = capsys.readouterr().out
    assert said.splitlines()[1].split()[:2] == ["relaygen", "-"]
    assert {"probe", "small_token"} < {line.split()[0] for line in said.splitlines()}
    assert "What the small model would write instead" in said


def test_a_policy_that_there_is_not_is_named(
    calibrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"^--policy nothing: no line of tune\.policies or methods"):
        replayed(monkeypatch, "--policy", "nothing")


def grid(speedups: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "policy": ["relaygen", "early", "early"],
            "threshold": [None, 0.5, 0.9],
            "large_utilization": [40.0, 10.0, 20.0],
            "mean_switches": [3.0, 4.0, 5.0],
            "predicted_speedup": pl.Series(speedups, dtype=pl.Float64),
        }
    )


@pytest.mark.parametrize(("speedups", "n"), [([1.5, 4.0, 3.0], 2), ([None] * 3, 1)])
def test_the_figure_shows_speedups_where_speeds_were_measured(
    speedups: list[float | None], n: int
) -> None:
    assert len(policies_by_threshold(grid(speedups)).axes) == n


def test_a_table_without_speeds_has_dashes() -> None:
    assert in_words(grid([None] * 3)).splitlines()[1].split() == [
        "relaygen",
        "-",
        "40.0",
        "3.0",
        "-",
    ]
