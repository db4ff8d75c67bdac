"""What `relaygen run` does before DVC starts."""

from pathlib import Path

import pytest

from stages.runtime.run import RWLOCK, remove_broken_lock

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("content", "stays"), [("", False), ('{"read": {', False), ('{"read": {}, "write": {}}', True)]
)
def test_a_list_of_locks_that_a_kill_left_half_written_is_removed(
    tmp_path: Path, content: str, stays: bool
) -> None:
    file = tmp_path / RWLOCK
    file.parent.mkdir(parents=True)
    file.write_text(content)
    remove_broken_lock(tmp_path)
    assert file.exists() == stays


def test_without_a_list_of_locks_there_is_nothing_to_do(tmp_path: Path) -> None:
    remove_broken_lock(tmp_path)
