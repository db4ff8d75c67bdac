"""Benchmarks that a run goes without: each says so itself, every later stage leaves it out."""

from pathlib import Path

import polars as pl
import pytest

from stages.problems.availability import LEFT_OUT, available, reasons
from stages.runtime.errors import UserError
from stages.tracking.frames import write_parquet

pytestmark = pytest.mark.unit


def write(folder: Path, name: str, reason: str | None = None) -> None:
    frame = pl.DataFrame({"problem_id": [] if reason else [0]}, schema={"problem_id": pl.Int64()})
    write_parquet(folder / f"{name}.parquet", frame, {LEFT_OUT: reason} if reason else {"n": 1})


def test_later_stages_go_on_with_the_other_benchmarks(tmp_path: Path) -> None:
    write(tmp_path, "aime")
    write(tmp_path, "gpqa", "gated: see its page")
    write(tmp_path, "math")
    assert available(["aime", "gpqa", "math"], tmp_path) == ["aime", "math"]


def test_the_reason_is_kept_word_by_word(tmp_path: Path) -> None:
    reason = "Owner/set is gated: " + "accept its terms, " * 20
    write(tmp_path, "gpqa", reason)
    assert reasons(tmp_path, ["gpqa"]) == {"gpqa": reason}


def test_a_problem_set_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"aime\.parquet: no such file"):
        available(["aime"], tmp_path)


def test_a_stage_with_nothing_left_to_do_says_so(tmp_path: Path) -> None:
    write(tmp_path, "gpqa", "gated")
    with pytest.raises(UserError, match="left out, and nothing else to do: gpqa"):
        available(["gpqa"], tmp_path)
