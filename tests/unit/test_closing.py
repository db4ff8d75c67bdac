"""The last lines of a run."""

from pathlib import Path

import polars as pl
import pytest

from stages.analysis.accuracy import left_out_rows
from stages.analysis.closing import closing, left_out
from stages.analysis.table_grid import Cell, Grid, plain

pytestmark = pytest.mark.unit


def test_a_grid_as_text_has_names_to_the_left_and_numbers_to_the_right() -> None:
    grid = Grid("Pass@1", ["method", "b"], [[Cell("Large model"), Cell("100", 1)]])
    assert plain(grid) == ["Pass@1", "method         b", "Large model  100"]


def test_what_a_run_went_without_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    left_out_rows("qwen3", {"gpqa": "gated"}).write_csv(tmp_path / "tables/left_out.csv")
    assert list(left_out(tmp_path)) == ["qwen3 without gpqa: gated"]


def test_the_closing_has_both_tables_the_time_and_the_report(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    row = {"pair": "p", "method": "large", "ci_low": 1.0, "ci_high": 1.0, "n_problems": 30}
    right = {"benchmark": "b", "pass_at_1": 90.0, "n_repeats": 1, "no_answer_percent": 0.0}
    speed = dict.fromkeys(
        ("paper_speedup", "paper_large_utilization", "acceptance_length", "bound", "bound_percent",
         "paper_speedup_sd", "paper_large_utilization_sd", "large_utilization_sd"),
    )  # fmt: skip
    fast = {"speedup": 1.0, "speedup_sd": 0.0, "large_utilization": 100.0, "n_runs": 5}
    accuracy = pl.DataFrame([{**row, **right, "paper": None}])
    accuracy.write_csv(tmp_path / "tables/accuracy.csv")
    pl.DataFrame([{**row, **speed, **fast}]).write_csv(tmp_path / "tables/speed.csv")
    left_out_rows("p", {}).write_csv(tmp_path / "tables/left_out.csv")
    lines = list(closing(tmp_path, ["p"], "27 min", Path("logs/run.log")))
    assert "Large model  90" in lines
    assert lines[-1].startswith(f"took 27 min; report: {tmp_path}/report.html")
