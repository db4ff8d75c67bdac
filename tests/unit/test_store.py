"""The store: a finished answer is kept whatever happens, and found by what shaped it alone."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from stages.generation import store as store_module
from stages.generation.store import STORE, Store, answers_in, folders, size_of
from stages.runtime.errors import UserError
from stages.tracking.files import Row

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is not waited for."""
    monkeypatch.setattr(store_module, "LOCK_WITHIN_S", 0)


RECIPE: Row = {"seed": 1, "cues": ["Thus"]}
ONE, TWO, THREE = ("p1", "0"), ("p1", "1"), ("p2", "0")


def checkpoint(folder: Path, part: str = "1of1") -> Path:
    return folder / f"{part}.jsonl"


def filled(folder: Path) -> Path:
    """The checkpoint of a store with three answers."""
    with Store(folder) as store:
        store.begin_session({"commit": "abc"})
        for n, key in enumerate((ONE, TWO, THREE)):
            store.append(key, {"n": n, "text": "Thus √2"})
    return checkpoint(folder)


def test_what_was_appended_is_found_again(tmp_path: Path) -> None:
    filled(tmp_path)
    store = Store(tmp_path)
    assert [store.row(key)["n"] for key in (ONE, TWO, THREE)] == [0, 1, 2]
    assert store.row(ONE)["text"] == "Thus √2"
    assert ("p3", "0") not in store


def test_an_answer_is_found_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append(ONE, {"n": 1})
        assert ONE in store
        assert store.row(ONE) == {"n": 1}
        assert ONE in Store(tmp_path), "on disk, too"


def test_a_later_run_goes_on_behind_what_is_there(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append(ONE, {"n": 1})
    with Store(tmp_path) as store:
        assert ONE in store
        store.append(TWO, {"n": 2})
    again = Store(tmp_path)
    assert [again.row(key) for key in (ONE, TWO)] == [{"n": 1}, {"n": 2}]


def test_what_another_job_has_appended_since_is_found_once_the_store_is_opened(
    tmp_path: Path,
) -> None:
    waiting = Store(tmp_path, checkpoint="2of2")
    filled(tmp_path)
    assert ONE not in waiting
    with waiting:
        assert ONE in waiting


def test_a_line_that_was_torn_by_a_crash_is_dropped_and_the_next_one_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = filled(tmp_path)
    file.write_bytes(file.read_bytes()[:-5])
    with Store(tmp_path) as store:
        assert [key in store for key in (ONE, TWO, THREE)] == [True, True, False]
        store.append(THREE, {"n": 9})
        assert store.row(THREE) == {"n": 9}
    again = Store(tmp_path)
    assert [again.row(key)["n"] for key in (ONE, TWO, THREE)] == [0, 1, 9]
    assert f"{file}, line 4 is damaged" in caplog.text


@pytest.mark.parametrize(
    "damaged",
    [
        b"\0" * 40,
        b"",
        b"{",
        b"7",
        b"null",
        b'"session"',
        b"[1]",
        b"{}",
        b'{"key": ["p1", "1"]}',
        b'{"key": ["p1", "1"], "row": 7}',
        b'{"key": 7, "row": {}}',
        b'{"key": [["p1"]], "row": {}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_line_in_the_middle_is_named_and_asked_for_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: bytes
) -> None:
    file = filled(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = damaged + b"\n"
    file.write_bytes(b"".join(lines))
    store = Store(tmp_path)
    assert [key in store for key in (ONE, TWO, THREE)] == [True, False, True]
    assert store.row(THREE)["n"] == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}, line 3 is damaged: its answer is asked for again"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_second_writer_is_refused_in_one_line(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append(ONE, {"n": 1})
        with pytest.raises(UserError) as caught, Store(tmp_path):
            pass
        assert str(caught.value) == (
            f"{checkpoint(tmp_path)}: another process is asking for these answers; "
            "wait until it has ended"
        )
        store.append(TWO, {"n": 2})
    assert TWO in Store(tmp_path)


def test_jobs_that_share_the_work_append_to_files_of_their_own(tmp_path: Path) -> None:
    with Store(tmp_path, checkpoint="1of2") as first, Store(tmp_path, checkpoint="2of2") as second:
        first.append(ONE, {"n": 1})
        second.append(TWO, {"n": 2})
    both = Store(tmp_path)
    assert (both.row(ONE)["n"], both.row(TWO)["n"]) == (1, 2)


def test_a_lock_that_is_given_up_soon_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LOCK_WITHIN_S", 10)
    first = Store(tmp_path).__enter__()
    monkeypatch.setattr(time, "sleep", lambda _: first.file.close())
    with Store(tmp_path) as store:
        store.append(ONE, {"n": 1})
    assert ONE in Store(tmp_path)


HOLD = """
import sys, time
from pathlib import Path
from stages.generation.store import Store
with Store(Path(sys.argv[1])) as store:
    store.append(("p1", "0"), {"n": 1})
    print("open", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_process_that_was_killed_is_free_and_its_answers_are_there(
    tmp_path: Path,
) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(UserError, match="another process"), Store(tmp_path):
            pass
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        with Store(tmp_path) as store:
            assert ONE in store
            store.append(TWO, {"n": 2})
    finally:
        owner.kill()
        owner.wait()


def test_reading_needs_no_lock_and_makes_no_folder(tmp_path: Path) -> None:
    assert ONE not in Store(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with Store(tmp_path / "one") as store:
        store.append(ONE, {"n": 1})
        assert ONE in Store(tmp_path / "one")


def test_an_answer_belongs_to_the_session_that_it_was_finished_in(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append(ONE, {})
        for n, key in ((1, TWO), (2, THREE)):
            store.begin_session({"run": n})
            store.append(key, {})
        sessions = [store.session(key) for key in (ONE, TWO, THREE)]
    assert sessions == [{}, {"run": 1}, {"run": 2}]
    again = Store(tmp_path)
    assert [again.session(key) for key in (ONE, TWO, THREE)] == sessions


def test_sessions_of_jobs_that_share_the_work_are_told_apart(tmp_path: Path) -> None:
    for part, key in (("1of2", ONE), ("2of2", TWO)):
        with Store(tmp_path, checkpoint=part) as store:
            store.begin_session({"part": part})
            store.append(key, {})
    both = Store(tmp_path)
    assert both.session(ONE) == {"part": "1of2"}
    assert both.session(TWO) == {"part": "2of2"}


def test_the_first_of_two_answers_with_one_key_is_the_one_that_counts(tmp_path: Path) -> None:
    for part, n in (("1of1", 1), ("1of2", 2)):
        with Store(tmp_path, checkpoint=part) as store:
            store.append(ONE, {"n": n})
    assert Store(tmp_path).row(ONE) == {"n": 1}


def test_an_answer_under_another_recipe_is_never_found(own_folder: Path) -> None:
    with Store.under("answers", RECIPE) as store:
        store.append(ONE, {"n": 1})
    assert ONE in Store.under("answers", RECIPE)
    assert ONE not in Store.under("answers", {**RECIPE, "seed": 2})
    assert ONE not in Store.under("answers", {**RECIPE, "cues": []})
    assert ONE not in Store.under("margins", RECIPE)


def test_the_recipe_lies_beside_what_was_made_under_it(own_folder: Path) -> None:
    with Store.under("answers", RECIPE) as store:
        store.append(ONE, {"n": 1})
    (folder,) = folders()
    assert folder == store.folder
    assert folder.parent == STORE / "answers"
    assert yaml.safe_load((folder / "recipe.yaml").read_text()) == RECIPE
    assert answers_in(folder) == 1
    assert size_of(folder) == sum(file.stat().st_size for file in folder.iterdir())
