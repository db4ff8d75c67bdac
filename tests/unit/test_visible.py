"""What a client sees of an answer that comes in pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.serving.visible import Piece, Splitter, StopFoundError, Visible

pytestmark = pytest.mark.unit

ANSWER = "<think>\nSo, 3 < 4.\n\nThus 7.\n</think>\n\n**7** is </th it.\n"
PARTS = ["<", "/", "think>", "<think>", "</think>", "\n", " ", "a", "stop", "st"]
TEXTS = st.lists(st.sampled_from(PARTS)).map("".join)


def split(chunks: list[str], stops: list[str], in_answer: bool = False) -> dict[str, str]:
    """The text of each kind, and under `stopped` whether a stop string was found."""
    splitter = Splitter("<think>", "</think>", stops, in_answer)
    found = {"reasoning": "", "content": "", "markup": "", "stopped": ""}
    try:
        for chunk in chunks:
            for kind, text in splitter.add(chunk):
                found[kind] += text
        for kind, text in splitter.close():
            found[kind] += text
    except StopFoundError:
        found["stopped"] = "yes"
    return found


def cut(text: str, places: list[int]) -> list[str]:
    """The text in pieces."""
    ends = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in pairwise(ends)]


def test_reasoning_and_content_come_apart_without_tags_and_outer_blanks() -> None:
    found = split([ANSWER], [])
    assert found["reasoning"] == "So, 3 < 4.\n\nThus 7."
    assert found["content"] == "**7** is </th it."


def test_an_answer_that_never_ends_its_reasoning_has_no_content() -> None:
    assert split(["<think>", "on and", " on "], [])["content"] == ""


def test_a_prompt_that_ended_the_reasoning_leaves_content_alone() -> None:
    found = split(["\n\n7"], [], in_answer=True)
    assert (found["reasoning"], found["content"]) == ("", "7")


def test_the_content_ends_before_a_stop_string() -> None:
    found = split(["a stop</think>one st", "op two"], ["stop"])
    assert (found["content"], found["stopped"]) == ("one ", "yes")
    assert found["reasoning"] == "a stop"


@given(TEXTS, st.lists(st.integers(0, 100)))
def test_any_cut_gives_the_same(text: str, places: list[int]) -> None:
    assert split(cut(text, places), ["stop"]) == split([text], ["stop"])


@given(TEXTS, st.lists(st.integers(0, 100)))
def test_no_text_is_lost_or_doubled(text: str, places: list[int]) -> None:
    splitter = Splitter("<think>", "</think>", [], in_answer=False)
    pieces = [piece for chunk in cut(text, places) for piece in splitter.add(chunk)]
    pieces += splitter.close()
    assert "".join(piece for _, piece in pieces) == text


@given(TEXTS)
def test_nothing_is_held_back_but_blanks_and_what_may_become_a_marker(text: str) -> None:
    splitter = Splitter("<think>", "</think>", ["stop"], in_answer=False)
    try:
        list(splitter.add(f"a{text}"))
    except StopFoundError:
        return
    held = splitter.held.strip()
    assert any(marker.startswith(held) for marker in ("</think>", "stop"))


@pytest.fixture
def shown() -> list[Piece]:
    return []


@pytest.fixture
def visible(shown: list[Piece]) -> Visible:
    return Visible(Splitter("<think>", "</think>", [], in_answer=False), shown.append)


def test_a_blank_that_the_method_drops_is_not_shown(visible: Visible, shown: list[Piece]) -> None:
    visible.hear("So ", "large")
    visible.settle("So", "large", "So ")
    visible.hear(" the", "small")
    visible.settle(" the end.", "small", None)
    assert "".join(piece.text for piece in shown) == "So the end."


def test_a_cue_is_told_behind_the_text_that_hands_over(
    visible: Visible, shown: list[Piece]
) -> None:
    visible.hear("Thus", "large")
    visible.settle("Thus", "large", "Thus")
    assert shown[-1] == Piece("markup", "", "large", "Thus")


def test_text_that_was_shown_and_is_not_kept_is_an_error(visible: Visible) -> None:
    visible.hear("Perhaps", "small")
    with pytest.raises(ValueError, match="was shown"):
        visible.settle("Certainly", "small", None)
