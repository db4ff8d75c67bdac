"""The tables of all pairs: one pair's gaps do not spoil another's numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest

from stages.analysis.paper_tables import answer_stage_grid, policies_grid, speed_grid
from stages.analysis.table_grid import markdown
from stages.runtime.errors import UserError
from stages.tables import joined

pytestmark = pytest.mark.unit

SPEED = {
    "method": "relaygen", "speedup": 1.5, "speedup_sd": 0.1, "large_utilization": 60.0,
    "large_utilization_sd": 1.0, "bound": 2.0, "bound_percent": 75.0, "paper_speedup": None,
    "paper_speedup_sd": None, "paper_large_utilization": None, "n_problems": 5, "n_runs": 5,
    "ci_low": 1.4, "ci_high": 1.6,
}  # fmt: skip


def written(folder: Path, *tables: Sequence[Mapping[str, object]]) -> list[Path]:
    """A CSV file for each pair."""
    files = [folder / f"{i}.csv" for i in range(len(tables))]
    for file, rows in zip(files, tables, strict=True):
        pl.DataFrame(rows).write_csv(file)
    return files


def test_a_pair_without_a_draft_head_leaves_the_others_numbers_numbers(tmp_path: Path) -> None:
    with_head = [{"pair": "qwen3", **SPEED, "acceptance_length": 2.5}]
    without = [{"pair": "r1", **SPEED, "acceptance_length": None}]
    table = joined(written(tmp_path, without, with_head))
    assert table["acceptance_length"].to_list() == [None, 2.5]
    assert "| 2.50 |" in markdown(speed_grid("qwen3", table.filter(pair="qwen3")))
    assert "acceptance" not in markdown(speed_grid("r1", table.filter(pair="r1")))


@pytest.mark.parametrize("percents", [(None, 50.0), (50.0, None), (None, None)])
def test_a_pair_whose_answers_all_ran_into_the_budget_has_its_rows(
    tmp_path: Path, percents: tuple[float | None, ...]
) -> None:
    rows: list[list[dict[str, object]]] = [
        [{"pair": f"p{i}", "benchmark": "aime", "n": 0, "consistent_percent": percent}]
        for i, percent in enumerate(percents)
    ]
    table = joined(written(tmp_path, *rows)).with_columns(paper=pl.lit(None, pl.Float64))
    assert table["consistent_percent"].to_list() == list(percents)
    for pair in ("p0", "p1"):
        assert "| aime | 0 |" in markdown(answer_stage_grid(pair, table.filter(pair=pair)))


def test_tables_without_a_row_are_joined(tmp_path: Path) -> None:
    file = tmp_path / "left_out.csv"
    file.write_text("pair,left_out,reason\n", encoding="utf-8")
    some = written(tmp_path, [{"pair": "r1", "left_out": "eagle3", "reason": "no head"}])
    assert joined([file, *some]).rows() == [("r1", "eagle3", "no head")]
    assert joined([file]).is_empty()


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"speed\.csv: no such file"):
        joined([tmp_path / "speed.csv"])


def test_who_dominates_is_said_by_the_names_of_the_other_columns() -> None:
    row = {"method": "large", "benchmark": "aime25", "pass_at_1": 70.0, "large_utilization": 100.0}
    beside = {"pair": "qwen3", "speedup": 1.0, "dominated_by": "r2r_entropy, relaygen"}
    printed = markdown(policies_grid("qwen3", pl.DataFrame([row | beside])))
    assert "| R2R by entropy, RelayGen |" in printed
