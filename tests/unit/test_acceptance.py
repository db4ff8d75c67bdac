"""Acceptance along the answer: where steps begin, and what bins hold."""

import polars as pl
import pytest

from stages.analysis.acceptance import along, bin_width, ends
from stages.analysis.plots import acceptance_along_answer
from stages.generation.answering import drafts
from stages.methods.base import Completion

pytestmark = pytest.mark.unit


def completion(n: int, *accepted: int) -> Completion:
    return Completion(list(range(n)), "", "stop", accepted=accepted)


def test_a_step_begins_behind_the_tokens_of_those_before_it() -> None:
    # One token with the prompt, then steps of 3 + 1, 0 + 1 and 2 + 1.
    assert drafts(completion(9, 3, 0, 2), begin=0) == [(1, 3), (5, 0), (6, 2)]


def test_a_later_request_goes_on_in_the_same_answer() -> None:
    assert drafts(completion(4, 2), begin=100) == [(101, 2)]


def test_tokens_behind_a_stop_string_move_no_step() -> None:
    assert drafts(completion(6, 3, 3), begin=0) == [(1, 3), (5, 3)]


def test_steps_are_spread_where_those_without_a_draft_are_not_reported() -> None:
    assert drafts(completion(41, 3, 3), begin=0) == [(1, 3), (21, 3)]


def test_an_engine_without_drafts_has_no_steps() -> None:
    assert drafts(completion(9), begin=0) == []


@pytest.mark.parametrize(("budget", "width"), [(200, 32), (1024, 32), (4096, 128), (32768, 256)])
def test_bins_grow_with_the_budget(budget: int, width: int) -> None:
    assert bin_width(budget) == width


LATENCY = pl.DataFrame(
    {
        "method": ["eagle3", "eagle3", "large", "draft"],
        "draft_at": [[*range(10), 40], [*range(32, 42)], [], [0]],
        "draft_accepted": [[3] * 10 + [0], [1] * 10, [], [3]],
    },
    schema_overrides={"draft_at": pl.List(pl.Int32), "draft_accepted": pl.List(pl.Int32)},
)


def test_a_bin_has_the_mean_of_the_steps_that_began_in_it() -> None:
    table = along(LATENCY, 32)
    assert table.select("method", "position", "drafts").rows() == [
        ("eagle3", 0, 10),
        ("eagle3", 32, 11),
    ]
    assert table["acceptance_length"].to_list() == pytest.approx([4, 1 + 10 / 11])
    assert (table["ci_low"] <= table["acceptance_length"]).all()


def test_the_first_bin_and_the_last_are_said() -> None:
    assert ends(along(LATENCY, 32)) == (
        "Large + Eagle-3 4.00 in the first bin, 1.91 from token 32 on."
    )
    assert ends(along(LATENCY.head(0), 32)) == "No method drafts."


def test_a_curve_is_drawn_for_each_method_that_drafts() -> None:
    table = along(LATENCY, 32)
    assert len(acceptance_along_answer(table).axes[0].lines) == 1
    assert not acceptance_along_answer(table.head(0)).axes[0].lines
