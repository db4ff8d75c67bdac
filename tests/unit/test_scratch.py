"""Temporary files of engines: private, and gone at the latest with the next run."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stages.engine import scratch as module
from stages.engine.scratch import scratch

pytestmark = pytest.mark.unit
OWNER = """
import sys, time
from pathlib import Path
from stages.engine import scratch
scratch.base = lambda: Path(sys.argv[1])
with scratch.scratch() as folder:
    (folder / "socket").touch()
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files."""
    monkeypatch.setattr(module, "base", lambda: tmp_path)
    return tmp_path


def test_a_folder_is_private_and_removed_with_what_is_in_it(temporary: Path) -> None:
    with scratch() as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "socket").touch()
    assert list(temporary.iterdir()) == []


def test_it_is_removed_whatever_goes_wrong_meanwhile(temporary: Path) -> None:
    with pytest.raises(FileNotFoundError), scratch():
        raise FileNotFoundError
    assert list(temporary.iterdir()) == []


def test_each_engine_has_its_own(temporary: Path) -> None:
    with scratch() as one, scratch() as other:
        assert one != other
        assert sorted(temporary.iterdir()) == sorted([one, other])


def left_by_a_killed_owner(temporary: Path) -> Path:
    command = [sys.executable, "-c", OWNER, str(temporary)]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    folder = Path(owner.stdout.readline().strip())
    with scratch():
        assert (folder / "socket").exists(), "its owner lives"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert (folder / "socket").exists()
    return folder


def test_what_a_killed_owner_left_goes_with_the_next_run(temporary: Path) -> None:
    left_by_a_killed_owner(temporary)
    with scratch() as folder:
        assert list(temporary.iterdir()) == [folder]


def test_nothing_else_is_removed(temporary: Path) -> None:
    others = [temporary / "relaygen-checkout", temporary / "vllm"]
    for folder in others:
        folder.mkdir()
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    link = temporary / f"{module.PREFIX}link"
    link.symlink_to(elsewhere)
    with scratch():
        pass
    assert all(folder.is_dir() for folder in (*others, elsewhere, link))


def test_a_sockets_path_does_not_get_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for usual in ("/tmp", "/scratch/job.123456", "/scratch/" + "long/" * 20):
        monkeypatch.setattr(tempfile, "gettempdir", lambda usual=usual: usual)
        folder = module.base() / f"{module.PREFIX}12345678"
        assert len(str(folder / "00000000-0000-0000-0000-000000000000")) <= 107
