"""One model alone: one request, split at the end of thinking."""

from dataclasses import replace
from typing import Any

import pytest

from stages.methods.base import Completion, Marks, Setting, reasoning_end
from stages.methods.single import SingleModel

pytestmark = pytest.mark.unit

PIECES = {9: "</think>"}
SETTING = Setting(
    [1, 2],
    budget=10,
    decode=lambda ids: "".join(PIECES.get(i, f"{i} ") for i in ids),
    encode=lambda text: [9],
)


def test_one_request_asks_for_the_whole_budget() -> None:
    request = SingleModel(SETTING, "large").next_request()
    assert request
    assert (request.engine, request.max_tokens, request.stop) == ("large", 10, ())


def test_the_end_of_thinking_splits_reasoning_and_answer() -> None:
    machine = SingleModel(SETTING, "large")
    machine.feed(Completion([5, 6, 9, 7], "", "stop"), wall_s=4.0)
    parts = [(s.stage, s.n_tokens, s.wall_s) for s in machine.answer.segments]
    assert parts == [("reasoning", 3, 3.0), ("answer", 1, 1.0)]
    assert machine.answer.answer_start == 3
    assert machine.next_request() is None


def test_an_answer_that_never_ended_its_reasoning_has_no_answer_stage() -> None:
    machine = SingleModel(SETTING, "small")
    machine.feed(Completion([5, 6], "", "length"), wall_s=1.0)
    assert machine.answer.answer_start is None
    assert machine.answer.tokens_by("small") == 2


def test_behind_a_finished_reasoning_all_is_answer() -> None:
    machine = SingleModel(replace(SETTING, reasoned=True), "small")
    machine.feed(Completion([5, 6], "", "stop"), wall_s=1.0)
    assert machine.answer.answer_start == 0
    assert [(s.stage, s.n_tokens) for s in machine.answer.segments] == [("answer", 2)]


TEXT = replace(
    SETTING,
    decode=lambda ids: "".join(map(chr, ids)),
    encode=lambda text: list(map(ord, text)),
    marks=Marks(think_end="Answer:"),
)


@pytest.mark.parametrize(
    ("text", "known", "end"),
    [
        ("It is 4. Answer: 4", 0, 16),
        ("Answer: 4 Answer: 4", 0, 7),
        ("It is 4. Answer: 4", 15, 16),  # the tag began in the part that was known
        ("It is 4. Answer", 0, None),
        ("", 0, None),
    ],
)
def test_the_reasoning_ends_with_the_token_that_completes_the_first_tag(
    text: str, known: int, end: int | None
) -> None:
    assert reasoning_end(TEXT.encode(text), TEXT, known) == end


def test_a_tag_may_be_written_in_any_tokens() -> None:
    pieces = {1: "It is", 2: " Ans", 3: "wer", 4: ": 4", 5: "."}
    setting = replace(TEXT, decode=lambda ids: "".join(pieces[i] for i in ids))
    assert reasoning_end([1, 2, 3, 4, 5], setting) == 4


@pytest.mark.parametrize("reason", ["abort", "error", "content_filter", "repetition", None])
def test_a_completion_that_was_broken_off_is_refused(reason: Any) -> None:
    machine = SingleModel(SETTING, "large")
    with pytest.raises(ValueError, match=f"ended with {reason!r}"):
        machine.feed(Completion([5, 6], "", reason), wall_s=1.0)
    assert machine.answer.token_ids == []
