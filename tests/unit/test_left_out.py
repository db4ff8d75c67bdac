"""From scores to tables without a benchmark: noted ones are left out, others must be there."""

import sys
from pathlib import Path

import polars as pl
import pytest

from stages import score, summary
from stages.config.params import load
from stages.problems.availability import LEFT_OUT
from stages.runtime.errors import UserError
from stages.tracking.frames import write_parquet

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))
REASON = "Owner/set is gated"


@pytest.fixture
def answered(tmp_path: Path) -> Path:
    """Every method's answer to one problem of chains_short and of chains_long, all right."""
    problems = pl.DataFrame({"problem_id": [0], "gold": ["7"]})
    answers = pl.DataFrame(
        {
            "problem_id": [0],
            "repeat": [0],
            "answer_text": [r"\boxed{7}"],
            "finish_reason": ["stop"],
            "large_tokens": [3],
            "small_tokens": [1],
            "token_ids": [[1, 2, 3, 4]],
        }
    )
    for benchmark in ("chains_short", "chains_long"):
        (tmp_path / "problems").mkdir(exist_ok=True)
        problems.write_parquet(tmp_path / f"problems/{benchmark}.parquet")
        for method in PARAMS.methods:
            (tmp_path / "generations" / method).mkdir(parents=True, exist_ok=True)
            answers.write_parquet(tmp_path / f"generations/{method}/{benchmark}.parquet")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The stages score and summary."""
    common = ["--pair", "demo", "--problems", f"{folder}/problems"]
    common += ["--generations", f"{folder}/generations"]
    scores = f"{folder}/scores.parquet"
    monkeypatch.setattr(sys, "argv", ["score", *common, "--out", scores])
    score.main()
    monkeypatch.setattr(sys, "argv", ["summary", *common, "--scores", scores, "--out", str(folder)])
    summary.main()


def test_a_benchmark_that_is_noted_is_in_no_table_but_that_of_gaps(
    answered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = {LEFT_OUT: REASON}
    write_parquet(answered / "problems/chains_choice.parquet", pl.DataFrame(), note)
    run(monkeypatch, answered)
    table = pl.read_csv(answered / "accuracy.csv")
    assert table["benchmark"].unique(maintain_order=True).to_list() == [
        "chains_short",
        "chains_long",
    ]
    assert table["pass_at_1"].to_list() == [100.0] * len(table)
    gaps = pl.read_csv(answered / "left_out.csv")
    assert gaps.row(by_predicate=pl.col("left_out") == "chains_choice") == (
        "demo", "chains_choice", REASON,
    )  # fmt: skip


def test_a_benchmark_that_is_missing_without_a_note_is_an_error(
    answered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"chains_choice\.parquet: no such file"):
        run(monkeypatch, answered)
