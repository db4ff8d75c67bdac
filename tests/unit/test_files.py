"""Writes are whole or not at all, go through no link, and are refused before engines start."""

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import Never

import polars as pl
import pytest

from stages.runtime.errors import UserError
from stages.tracking import files
from stages.tracking.files import atomic, check_room, remove_leftovers, write_text
from stages.tracking.frames import read_parquet, write_csv, write_parquet

pytestmark = pytest.mark.unit


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), atomic(path) as temporary:
        temporary.write_text("half\ud800", encoding="utf-8")
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


def test_a_temporary_file_is_made_anew_and_not_opened_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("theirs")
    monkeypatch.setattr(secrets, "token_hex", lambda n: "guessed")
    (tmp_path / ".file.guessed.tmp").symlink_to(target)
    with pytest.raises(FileExistsError), atomic(tmp_path / "file"):
        pass
    assert target.read_text() == "theirs"


def test_a_link_at_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("theirs")
    (tmp_path / "file").symlink_to(target)
    write_text(tmp_path / "file", "new")
    assert (target.read_text(), (tmp_path / "file").read_text()) == ("theirs", "new")


def test_a_file_has_the_rights_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_what_killed_processes_left_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = [tmp_path / "results/a.csv", tmp_path / "results/x.tmp", tmp_path / ".mine.tmp"]
    for file in (*kept, tmp_path / "results/demo/.b.0123.tmp"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    remove_leftovers()
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_what_a_run_writes_into_is_tried_and_left_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_room()
    found = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    assert found == sorted(files.WRITTEN)


@pytest.mark.parametrize("name", ["a b", "it's", 'a"b', "a:b", "é", "大", "a\nb", "$HOME", "`x`"])
def test_a_project_may_lie_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    check_room()


@pytest.mark.parametrize("name", ["{pair}", "${x}"])
def test_a_path_in_which_dvc_fails_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    with pytest.raises(UserError, match=r"DVC fails in a folder with \{ or \} in its path: rename"):
        check_room()


def test_a_file_in_place_of_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").touch()
    with pytest.raises(UserError, match=r"^store: cannot be written to \(File exists\)"):
        check_room()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_no_more_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fsync(descriptor: int) -> Never:
        raise OSError(number, os.strerror(number))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match=rf"^results: .*{os.strerror(number)}.*: free some space"):
        check_room()
    assert list((tmp_path / "results").iterdir()) == []
