"""Digests of files, and what is remembered of them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.tracking import digests, memory
from stages.tracking.memory import Memory
from tests.unit.conftest import forget

pytestmark = pytest.mark.unit
DAY = 86400


def old_file(path: Path, text: str, age_s: float = DAY) -> Path:
    """A file that was last changed some time ago."""
    path.write_text(text)
    changed = path.stat().st_mtime - age_s
    os.utime(path, (changed, changed))
    return path


class Reader:
    """Reads a file, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, file: Path) -> str:
        self.times += 1
        return file.read_text()


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def file(own_folder: Path) -> Path:
    return old_file(own_folder / "file", "one")


def test_what_is_known_of_a_file_is_not_worked_out_again(file: Path, reader: Reader) -> None:
    first = Memory("x")
    assert first.of(file, reader) == "one"
    first.save()
    assert Memory("x").of(file, reader) == "one"
    assert reader.times == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda file: old_file(file, "two", age_s=DAY / 2),
        lambda file: old_file(file, "longer"),
        lambda file: old_file(file.with_name("other"), "two").replace(file),
    ],
    ids=["another time, the same size", "another size", "another file"],
)
def test_a_changed_file_is_noticed(
    file: Path, reader: Reader, change: Callable[[Path], object]
) -> None:
    known = Memory("x")
    known.of(file, reader)
    change(file)
    assert known.of(file, reader) == file.read_text() != "one"


def test_a_file_that_has_just_changed_is_not_remembered(own_folder: Path, reader: Reader) -> None:
    # It may change again within one tick of the clock.
    fresh = own_folder / "fresh"
    fresh.write_text("one")
    known = Memory("x")
    known.of(fresh, reader)
    known.of(fresh, reader)
    assert reader.times == 2


@pytest.mark.parametrize("content", ["", "{", "[1]", "7", '{"a": 1}', "\0\0"])
def test_a_damaged_memory_is_an_empty_one(file: Path, reader: Reader, content: str) -> None:
    memory.FOLDER.mkdir(parents=True)
    (memory.FOLDER / "x.json").write_text(content)
    known = Memory("x")
    assert known.of(file, reader) == "one"
    known.save()
    assert Memory("x").of(file, reader) == "one"
    assert reader.times == 1


def test_a_folder_that_cannot_be_written_to_is_no_error(file: Path, reader: Reader) -> None:
    memory.FOLDER.parent.write_text("a file where the folder would be")
    known = Memory("x")
    assert known.of(file, reader) == "one"
    known.save()
    assert Memory("x").of(file, reader) == "one"


def test_values_of_one_kind_are_not_those_of_another(file: Path) -> None:
    Memory("x").of(file, lambda _: "x")
    assert Memory("y").of(file, lambda _: "y") == "y"


def test_a_file_is_known_by_its_sha256(file: Path) -> None:
    sha256 = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert digests.sha256(file) == sha256
    assert digests.of_files([file]) == {str(file): sha256[:16]}


def test_files_are_read_once_and_not_at_every_start(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests.of_files([file])
    forget()
    monkeypatch.setattr(digests, "sha256", lambda path: pytest.fail(f"read {path}"))
    assert digests.of_files([file]) == before


def folder_of(parent: Path, name: str, **files: str) -> Path:
    folder = parent / name
    for key, text in files.items():
        file = folder / key.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "same"),
    [
        ({"a_json": "1", "b__c_bin": "2"}, True),
        ({"a_json": "2", "b__c_bin": "2"}, False),
        ({"a_json": "1", "b__d_bin": "2"}, False),
        ({"a_json": "1", "c_bin": "2"}, False),
        ({"a_json": "1"}, False),
        ({"a_json": "1", "b__c_bin": "2", "b__c_pyc": "3"}, True),
    ],
)
def test_a_folder_is_known_by_its_files_names_and_contents(
    own_folder: Path, files: dict[str, str], same: bool
) -> None:
    first = folder_of(own_folder, "first", a_json="1", b__c_bin="2")
    second = folder_of(own_folder, "second", **files)
    assert (digests.of_folder(first) == digests.of_folder(second)) is same


def test_files_of_some_names_can_be_left_out(own_folder: Path) -> None:
    first = folder_of(own_folder, "first", a_json="1", b_bin="2")
    second = folder_of(own_folder, "second", a_json="1", b_bin="3", c_md="4")
    assert digests.of_folder(first) != digests.of_folder(second)

    def counts(name: str) -> bool:
        return not name.endswith((".bin", ".md"))

    assert digests.of_folder(first, counts) == digests.of_folder(second, counts)


def test_the_digest_of_a_value_does_not_depend_on_the_order_of_keys() -> None:
    assert digests.of_value({"a": 1, "b": 2}) == digests.of_value({"b": 2, "a": 1})
    assert digests.of_value(1, 2) != digests.of_value(2, 1) != digests.of_value([2, 1])


def test_the_digests_that_make_seeds_stay_what_they_are() -> None:
    assert digests.of_value(20260, "0123456789abcdef", 0) == "1786531b64d69eac"
