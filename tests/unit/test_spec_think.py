"""Speculative Thinking's trigger rules, case by case: one character is one token."""

from collections.abc import Sequence
from typing import Any

import pytest

from stages.methods.base import Completion, Request, Setting
from stages.methods.spec_think import CHECK, Method, SpecThink, mood

pytestmark = pytest.mark.unit


def decode(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def encode(text: str) -> list[int]:
    return list(map(ord, text))


def machine(budget: int = 1000) -> SpecThink:
    return SpecThink(Setting(encode("Q:"), budget, decode, encode), large="large", small="small")


def paragraph(text: str) -> Completion:
    return Completion(encode(text), text, "stop", "\n\n")


def full(text: str) -> Completion:
    return Completion(encode(text), text, "length")


def ended(text: str) -> Completion:
    return Completion([*encode(text), 0], text, "stop")


def play(spec: SpecThink, *completions: Completion) -> Request | None:
    for completion in completions:
        assert spec.next_request()
        spec.feed(completion, wall_s=1.0)
    return spec.next_request()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The value is 3.", "neutral"),
        ("Yeah, the final answer is", "positive"),
        ("WAIT, that is", "negative"),
        ("Yes. Wait.", "negative"),  # as many of each
        ("Yes, yes. Wait.", "positive"),
        ("Let us verify it", "negative"),
        ("awaiting", "negative"),  # substrings count
    ],
)
def test_the_mood_of_a_draft(text: str, expected: str) -> None:
    assert mood(text) == expected


def test_the_small_model_writes_up_to_a_blank_line() -> None:
    request = play(machine())
    assert request
    assert (request.engine, request.stop, request.max_tokens) == ("small", ("\n\n",), 1000)


def test_at_a_blank_line_the_small_model_drafts_20_tokens() -> None:
    request = play(machine(), paragraph("One.\n\n"))
    assert request
    assert (request.engine, request.max_tokens, request.stop) == ("small", 20, ())


def test_a_neutral_draft_is_kept_and_the_small_model_goes_on() -> None:
    spec = machine()
    request = play(spec, paragraph("One.\n\n"), full("Two and"))
    assert request
    assert (request.engine, request.stop) == ("small", ("\n\n",))
    assert decode(spec.answer.token_ids) == "One.\n\nTwo and"


@pytest.mark.parametrize("draft", ["Wait, no", "Yes, so"])
def test_any_other_draft_is_dropped_and_the_large_model_writes_instead(draft: str) -> None:
    spec = machine()
    request = play(spec, paragraph("One.\n\n"), full(draft))
    assert request
    assert (request.engine, request.max_tokens) == ("large", 20)
    assert decode(request.prompt_ids) == "Q:One.\n\n"


def test_the_time_of_a_dropped_draft_counts_and_its_tokens_do_not() -> None:
    spec = machine()
    play(spec, paragraph("One.\n\n"), full("Wait, no"), full("Two"))
    assert [(s.model, s.n_tokens, s.wall_s) for s in spec.answer.segments] == [
        ("small", 6, 1.0),
        ("large", 3, 2.0),
    ]


def test_a_verify_word_in_what_was_kept_has_the_large_model_add_125_tokens() -> None:
    request = play(machine(), paragraph("One.\n\n"), full("Wait"), full("Let me recap"))
    assert request
    assert (request.engine, request.max_tokens) == ("large", 125)


def test_after_15_negative_drafts_the_large_model_looks_for_wrong_steps() -> None:
    spec = machine(10_000)
    wavering = (paragraph("One.\n\n"), full("Wait"), full("Two"))
    request = play(spec, *wavering * 15)
    assert request
    assert decode(request.prompt_ids).endswith(CHECK)
    assert (request.engine, request.max_tokens) == ("large", 125)
    after_check = play(spec, full("No."))
    assert after_check
    assert (after_check.engine, after_check.stop) == ("small", ("\n\n",))
    later = play(spec, *wavering * 20)
    assert later
    assert decode(later.prompt_ids).endswith(CHECK)
    assert later.max_tokens == 150


def test_a_check_that_the_budget_has_no_room_for_ends_the_answer() -> None:
    drafts = [paragraph("a\n\n"), full("wait"), full("b")] * 15
    written = 15 * len("a\n\nb")
    spec = machine(budget=written + len(CHECK))
    assert play(spec, *drafts) is None
    assert spec.answer.finish_reason == "length"
    assert len(spec.answer.token_ids) == written


def test_checks_grow_to_200_tokens_and_their_threshold_to_30() -> None:
    patience = machine().patience
    for _ in range(10):
        patience.renew()
    assert (patience.threshold, patience.tokens) == (30, 200)


def test_reasoning_and_answer_are_told_apart() -> None:
    spec = machine()
    assert play(spec, paragraph("a</think>\n\n"), ended("b")) is None
    assert [(s.stage, s.n_tokens) for s in spec.answer.segments] == [
        ("reasoning", 9),
        ("answer", 2),
        ("answer", 2),
    ]
    assert (spec.answer.answer_start, spec.answer.finish_reason) == (9, "stop")


def test_the_budget_ends_the_answer() -> None:
    spec = machine(budget=8)
    request = play(spec, paragraph("One.\n\n"))
    assert request
    assert request.max_tokens == 2
    assert play(spec, full("Tw")) is None
    assert spec.answer.finish_reason == "length"


def test_it_is_asked_like_the_others_unless_its_line_says_steps() -> None:
    line = {"kind": "spec_think", "large": "large", "small": "small", "cues": "none"}
    lines = [line, {**line, "prompt": "steps"}]
    columns = [Method.model_validate(settings).prompt_column for settings in lines]
    assert columns == ["prompt_ids", "steps_prompt_ids"]


@pytest.mark.parametrize("reason", ["abort", "error", "content_filter", "repetition", None])
def test_a_completion_that_was_broken_off_is_refused(reason: Any) -> None:
    spec = machine()
    with pytest.raises(ValueError, match=f"ended with {reason!r}"):
        spec.feed(Completion(encode("One"), "One", reason), wall_s=1.0)


def test_a_part_that_ends_inside_a_character_is_kept_without_it() -> None:
    def halves(ids: Sequence[int]) -> str:
        return bytes(ids).decode(errors="replace")

    def text(ids: Sequence[int]) -> Completion:
        return Completion(list(ids), halves(ids), "length")

    face = "😀".encode()
    spec = SpecThink(Setting([], 20, halves, encode), large="large", small="small")
    play(spec, Completion([*b"1.\n\n"], "1.\n\n", "stop", "\n\n"), text(b"so " + face[:3]))
    assert spec.answer.token_ids == [*b"1.\n\nso "]
    assert [segment.n_tokens for segment in spec.answer.segments] == [4, 3]
    play(spec, text(b"is " + face), text(face[:2]))
    assert spec.answer.token_ids == [*b"1.\n\nso is ", *face, *face[:2]], "nothing else was written"
    play(spec, text(face[2:]), text(b"a" + face[:1]))
    assert spec.answer.finish_reason == "length"
    assert len(spec.answer.token_ids) == 20, "the budget is spent to the last token"
