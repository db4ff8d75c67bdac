"""The relay's rules, case by case, with scripted engines: one character is one token."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from stages.methods.base import Completion, Marks, Request, Setting
from stages.methods.relay import Relay

pytestmark = pytest.mark.unit
THINK_END = Marks().think_end


def decode(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def encode(text: str) -> list[int]:
    return list(map(ord, text))


SETTING = Setting(
    prompt_ids=encode("Q:"),
    budget=200,
    decode=decode,
    encode=encode,
    cues=("Thus", "now", "So "),
)


def stopped(text: str, stop: str) -> Completion:
    return Completion(encode(text), text, "stop", stop)


def ended(text: str) -> Completion:
    """The engine ended the text: its end-of-text token comes last and is not in the text."""
    return Completion([*encode(text), 0], text, "stop", None)


def cut(text: str) -> Completion:
    return Completion(encode(text), text, "length", None)


def relay(**changes: Any) -> Relay:
    return Relay(replace(SETTING, **changes), large="large", small="small")


def play(machine: Relay, *completions: Completion) -> list[Request]:
    """Feed completions in turn; the requests that were made, up to one after the last."""
    requests = []
    for completion in completions:
        request = machine.next_request()
        assert request
        requests.append(request)
        machine.feed(completion, wall_s=1.0)
    last = machine.next_request()
    return [*requests, last] if last else requests


def test_large_starts_and_stops_at_cues_and_at_the_end_of_thinking() -> None:
    (first,) = play(relay())
    assert (first.engine, first.stop) == ("large", (*SETTING.cues, THINK_END))
    assert first.max_tokens == 200


def test_a_cue_hands_over_to_small_which_stops_at_sentence_ends() -> None:
    machine = relay()
    _, second = play(machine, stopped("It is 4. Thus", "Thus"))
    assert second.engine == "small"
    assert second.stop == (".", "!", "?", "\n\n", THINK_END)
    assert decode(second.prompt_ids) == "Q:It is 4. Thus"
    assert machine.answer.segments[0].cue == "Thus"


def test_a_sentence_end_hands_back_to_large() -> None:
    requests = play(relay(), stopped("It is 4. Thus", "Thus"), stopped(" four.", "."))
    assert requests[-1].engine == "large"
    assert requests[-1].max_tokens == 200 - len("It is 4. Thus four.")


@pytest.mark.parametrize("by", ["large", "small"])
def test_the_end_of_thinking_in_either_mode_gives_the_answer_to_small(by: str) -> None:
    before = [stopped("It is 4. Thus", "Thus")] if by == "small" else []
    machine = relay()
    requests = play(machine, *before, stopped(f"ok{THINK_END}", THINK_END))
    assert (requests[-1].engine, requests[-1].stop) == ("small", ())
    assert machine.answer.answer_start == len(machine.answer.token_ids)


def test_the_answer_can_be_left_to_large() -> None:
    requests = play(relay(answer_engine="large"), stopped(THINK_END, THINK_END))
    assert requests[-1].engine == "large"


def test_the_answer_ends_the_relay() -> None:
    machine = relay()
    requests = play(machine, stopped(THINK_END, THINK_END), ended("42"))
    assert len(requests) == 2
    assert machine.answer.finish_reason == "stop"
    assert [segment.stage for segment in machine.answer.segments] == ["reasoning", "answer"]


def test_budget_spent_in_the_reasoning_appends_the_tag_and_asks_for_no_answer() -> None:
    machine = relay(budget=6)
    assert len(play(machine, cut("sixsix"))) == 1
    assert decode(machine.answer.token_ids) == f"sixsix\n{THINK_END}"
    assert machine.answer.finish_reason == "length"


def test_a_tag_that_no_model_wrote_counts_for_the_budget() -> None:
    tag = f"\n{THINK_END}"
    requests = play(relay(), ended("It is 4"))
    assert requests[-1].max_tokens == 200 - len(f"It is 4{tag}")
    full = relay(budget=len(f"It is 4{tag}"))
    assert len(play(full, ended("It is 4"))) == 1
    assert decode(full.answer.token_ids) == f"It is 4{tag}"
    assert full.answer.finish_reason == "length"


def test_budget_spent_exactly_at_a_cue_ends_the_answer() -> None:
    machine = relay(budget=9)
    assert len(play(machine, stopped("four Thus", "Thus"))) == 1
    assert machine.answer.finish_reason == "length"


@pytest.mark.parametrize(
    ("text", "engine"), [("Thus", "large"), ("4Thus", "large"), ("So Thus", "small")]
)
def test_a_cue_among_a_segments_first_five_tokens_hands_nothing_over(
    text: str, engine: str
) -> None:
    assert play(relay(cue_matching="substring"), stopped(text, "Thus"))[-1].engine == engine


def test_the_end_of_thinking_counts_from_a_segments_first_token_on() -> None:
    machine = relay()
    play(machine, stopped("It is 4. Thus", "Thus"), stopped(" four.", "."),
         Completion([1], THINK_END, "stop", THINK_END), ended("42"))  # fmt: skip
    assert machine.answer.segments[-1].stage == "answer"


def test_an_engine_that_ends_on_its_own_ends_the_reasoning() -> None:
    machine = relay()
    requests = play(machine, ended("It is 4"))
    assert decode(requests[-1].prompt_ids) == f"Q:It is 4\n{THINK_END}"
    assert requests[-1].engine == "small"


def test_tags_that_no_model_wrote_are_nobodys_tokens() -> None:
    machine = relay()
    play(machine, ended("It is 4"))
    assert machine.answer.tokens_by("large") == len("It is 4")
    assert len(machine.answer.token_ids) == len("It is 4") + len(f"\n{THINK_END}")


def test_a_match_inside_a_word_is_no_cue_at_boundaries() -> None:
    machine = relay()
    requests = play(machine, stopped("We know", "now"))
    assert requests[-1].engine == "large"
    assert machine.answer.n_switches == 0


def test_a_match_inside_a_word_is_a_cue_for_substrings() -> None:
    requests = play(relay(cue_matching="substring"), stopped("We know", "now"))
    assert requests[-1].engine == "small"


def test_a_refused_match_does_not_end_the_segment_nor_its_minimum() -> None:
    machine = relay()
    play(machine, stopped("know", "now"), stopped(" Thus", "Thus"))
    assert [(s.n_tokens, s.cue) for s in machine.answer.segments] == [(9, "Thus")]


def test_a_word_that_began_before_a_refused_match_goes_on() -> None:
    machine = relay()
    requests = play(machine, stopped("know", "now"), stopped("now", "now"))
    assert requests[-1].engine == "large", "'knownow' holds no word 'now'"


def test_a_trailing_blank_does_not_keep_the_next_word() -> None:
    pieces = {1: "It", 2: ".", 3: " So", 4: " the"}
    machine = relay(decode=lambda ids: "".join(pieces[i] for i in ids), min_tokens=0)
    machine.next_request()
    machine.feed(Completion([1, 2, 3, 4], "It. So ", "stop", "So "), 1.0)
    assert machine.answer.token_ids == [1, 2, 3]
    request = machine.next_request()
    assert request
    assert request.max_tokens == 197


def test_a_trailing_blank_does_not_cut_a_character() -> None:
    def halves(ids: list[int]) -> str:
        return bytes(ids).decode(errors="replace")

    machine = relay(decode=halves, min_tokens=0, cues=("é ",))
    machine.next_request()
    machine.feed(Completion(list("é ".encode()), "é ", "stop", "é "), 1.0)
    assert halves(machine.answer.token_ids) == "é"


def test_a_word_that_began_in_a_sentence_ends_token_goes_on() -> None:
    pieces = {1: "4 Thus", 2: " 4", 3: ".kn", 4: "ow"}
    machine = relay(decode=lambda ids: "".join(pieces[i] for i in ids), min_tokens=0)
    requests = play(
        machine,
        Completion([1], "4 Thus", "stop", "Thus"),
        Completion([2, 3], " 4.", "stop", "."),
        Completion([4], "ow", "stop", "ow"),
    )
    assert requests[-1].engine == "large", "'.know' holds no word 'ow'"


def test_a_sentence_end_inside_a_token_keeps_the_whole_token() -> None:
    machine = relay()
    play(
        machine,
        stopped("It is 4. Thus", "Thus"),
        Completion(encode(" four.\n\n"), " four.", "stop", "."),
    )
    assert decode(machine.answer.token_ids).endswith(" four.\n\n")


def test_counts_add_up() -> None:
    machine = relay()
    play(
        machine,
        stopped("It is 4. Thus", "Thus"),
        stopped(" four.", "."),
        stopped(THINK_END, THINK_END),
        ended("42"),
    )
    answer = machine.answer
    assert [s.model for s in answer.segments] == ["large", "small", "large", "small"]
    assert answer.n_switches == 3
    assert answer.tokens_by("large") + answer.tokens_by("small") == len(answer.token_ids)
    assert sum(s.wall_s for s in answer.segments) == 4.0


def test_token_ids_are_appended_and_not_rebuilt() -> None:
    machine = relay()
    first = machine.next_request()
    machine.feed(stopped("It is 4. Thus", "Thus"), 1.0)
    second = machine.next_request()
    assert first
    assert second
    assert second.prompt_ids is first.prompt_ids


@pytest.mark.parametrize("reason", ["abort", "error", "content_filter", "repetition", None])
@pytest.mark.parametrize("before", [(), (THINK_END,)])
def test_a_completion_that_was_broken_off_ends_no_answer(
    reason: Any, before: tuple[str, ...]
) -> None:
    machine = relay()
    play(machine, *(stopped(text, THINK_END) for text in before))
    with pytest.raises(ValueError, match=f"ended with {reason!r}"):
        machine.feed(Completion(encode("It is"), "It is", reason), wall_s=1.0)
    assert machine.answer.finish_reason is None
