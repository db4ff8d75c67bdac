"""Writes are whole or not at all, and finished answers survive a crash."""

from pathlib import Path

import polars as pl
import pytest

from stages.runtime.errors import UserError
from stages.tracking.files import Shard, atomic, digest_files
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


def test_a_shard_gives_back_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "shard.jsonl"
    Shard(path).append({"problem_id": 1})
    assert Shard(path).rows == [{"problem_id": 1}]


def test_a_torn_line_is_dropped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "shard.jsonl"
    path.write_text('{"problem_id": 1}\n{"problem_id": 2')
    Shard(path).append({"problem_id": 3})
    assert [row["problem_id"] for row in Shard(path).rows] == [1, 3]


def test_a_removed_shard_is_gone(tmp_path: Path) -> None:
    shard = Shard(tmp_path / "shard.jsonl")
    shard.remove()
    assert not shard.path.exists()


def test_the_digest_of_a_folder_changes_with_a_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = digest_files(tmp_path)
    (tmp_path / "a").write_text("2")
    assert digest_files(tmp_path) != before
