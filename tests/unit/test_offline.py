"""Where the relay cuts a trace of the large model, on the bundled tokenizer."""

from dataclasses import replace

import pytest

from stages.methods.base import Completion, Marks
from stages.methods.matching import CueSet
from stages.methods.offline import replay, setting
from stages.methods.relay import Relay
from tests.conftest import TOKENIZER, encode

pytestmark = pytest.mark.unit

RULES = setting(TOKENIZER, CueSet(("Thus", "Now,", "now", "So ")), min_tokens=5, marks=Marks())
THINK_END = Marks().think_end
TRACE = f"<think>\nWe add 3 and 4. Thus it is 7. Then we stop.{THINK_END}\n\n7<|im_end|>"


def cut(text: str) -> list[tuple[str, str, str, str | None]]:
    """(who, stage, text, cue) of each segment."""
    answer = replay(encode(text), TOKENIZER, RULES)
    result: list[tuple[str, str, str, str | None]] = []
    start = 0
    for segment in answer.segments:
        ids = answer.token_ids[start : start + segment.n_tokens]
        piece = TOKENIZER.decode(ids, skip_special_tokens=False)
        result.append((segment.model, segment.stage, piece, segment.cue))
        start += segment.n_tokens
    return result


def test_a_trace_is_cut_where_the_relay_would_hand_over() -> None:
    assert cut(TRACE) == [
        ("large", "reasoning", "<think>\nWe add 3 and 4. Thus", "Thus"),
        ("small", "reasoning", " it is 7.", None),
        ("large", "reasoning", f" Then we stop.{THINK_END}", None),
        ("small", "answer", "\n\n7<|im_end|>", None),
    ]


def test_a_trace_that_was_cut_off_has_no_answer() -> None:
    assert cut("We add 3 and 4. Thus it is 7. Then")[-1] == ("large", "reasoning", " Then", None)


def test_an_end_of_text_inside_the_reasoning_is_nobodys_token() -> None:
    assert cut("We add 3 and 4.<|im_end|>") == [("large", "reasoning", "We add 3 and 4.", None)]


def test_the_small_model_may_end_the_reasoning() -> None:
    assert cut(f"We add 3 and 4. Thus 7{THINK_END}7")[1:] == [
        ("small", "reasoning", f" 7{THINK_END}", None),
        ("small", "answer", "7", None),
    ]


@pytest.mark.parametrize("after", [" the sum", " 😀", " 你好", " é"])
def test_what_only_a_cues_trailing_blank_reaches_is_the_small_models(after: str) -> None:
    pieces = [piece for _, _, piece, _ in cut(f"We add 3 and 4. So{after} is 7. Then")]
    assert pieces == ["We add 3 and 4. So", f"{after} is 7.", " Then"]


@pytest.mark.parametrize("before", ["😀 你好", "e\u0301 \u0301", "👩\u200d👧 🇰🇷"])
def test_characters_of_many_tokens_do_not_shift_a_cut(before: str) -> None:
    written = TOKENIZER.normalizer.normalize_str(before)
    assert cut(f"{before} and 4 Thus 😀. Then")[:2] == [
        ("large", "reasoning", f"{written} and 4 Thus", "Thus"),
        ("small", "reasoning", " 😀.", None),
    ]


def test_a_word_that_holds_a_cue_hands_nothing_over() -> None:
    assert len(cut("We add 3 and 4. We know it.")) == 1


def test_a_relays_answer_without_an_end_tag_replays_to_its_own_segments() -> None:
    machine = Relay(replace(RULES, budget=100), large="large", small="small")
    for text, stop in (("We add 3 and 4. Thus", "Thus"), (" 7.", "."), (" Well<|im_end|>", None)):
        assert machine.next_request()
        machine.feed(Completion(encode(text), text, "stop", stop), 0.0)
    added = encode(f"\n{THINK_END}")
    ids = machine.answer.token_ids
    assert ids[-len(added) :] == added
    written = [*ids[: -len(added)], *encode("<|im_end|>")]
    assert replay(written, TOKENIZER, RULES).segments == machine.answer.segments
