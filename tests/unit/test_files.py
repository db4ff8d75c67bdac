"""Writes are whole or not at all."""

from pathlib import Path

import polars as pl
import pytest

from stages.runtime.errors import UserError
from stages.tracking.files import atomic
from stages.tracking.frames import read_parquet, write_csv, write_parquet

pytestmark = pytest.mark.unit


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic(path) as temporary:
        (temporary / "no" / "folder").write_text("half")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_makes_its_folder(tmp_path: Path) -> None:
    with atomic(tmp_path / "a" / "b") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a" / "b").read_text() == "new"


def test_parquet_keeps_its_provenance(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_parquet(path, pl.DataFrame({"a": [1]}), {"seed": 1})
    assert read_parquet(path)["a"].to_list() == [1]
    assert pl.read_parquet_metadata(path)["provenance"] == '{"seed": 1}'


def test_a_missing_parquet_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.parquet: no such file"):
        read_parquet(tmp_path / "x.parquet")


def test_blanks_at_a_cues_end_survive_csv(tmp_path: Path) -> None:
    path = tmp_path / "cues.csv"
    write_csv(path, pl.DataFrame({"cue": ["So ", "Thus,"]}))
    assert pl.read_csv(path)["cue"].to_list() == ["So ", "Thus,"]
