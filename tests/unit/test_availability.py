"""Benchmarks that a run goes without: noted once, left out by every later stage."""

from pathlib import Path

import pytest

from stages.problems.availability import available, left_out, note
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit


def test_later_stages_go_on_with_the_other_benchmarks(tmp_path: Path) -> None:
    note(tmp_path, {"gpqa": "gated: see its page"})
    assert available(["aime", "gpqa", "math"], tmp_path) == ["aime", "math"]


def test_the_reason_is_kept_word_by_word(tmp_path: Path) -> None:
    reason = "Owner/set is gated: " + "accept its terms, " * 20
    note(tmp_path, {"gpqa": reason})
    assert left_out(tmp_path) == {"gpqa": reason}


def test_without_the_note_nobody_knows_and_that_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unavailable\.yaml: no such file; the availability stage"):
        available(["aime"], tmp_path)


def test_a_stage_with_nothing_left_to_do_says_so(tmp_path: Path) -> None:
    note(tmp_path, {"gpqa": "gated"})
    with pytest.raises(UserError, match="left out, and nothing else to do: gpqa"):
        available(["gpqa"], tmp_path)
