"""Where cues are found and how far their segments reach."""

import pytest

from stages.methods.matching import occurrences, segment

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "cue", "boundary", "substring"),
    [
        ("We know. now", "now", [9], [4, 9]),
        ("Thus, Thus", "Thus", [0, 6], [0, 6]),
        ("Some So it", "So ", [5], [5]),
        ("Also so, so", "so,", [5], [5]),
        ("whence\nhence", "hence", [7], [1, 7]),
        ("(now)", "now", [1], [1]),
    ],
)
def test_occurrences(text: str, cue: str, boundary: list[int], substring: list[int]) -> None:
    assert list(occurrences(text, cue, "boundary")) == boundary
    assert list(occurrences(text, cue, "substring")) == substring


@pytest.mark.parametrize(
    ("text", "cue", "expected"),
    [
        ("Thus it is 4. Next", "Thus", " it is 4."),
        ("So the end\nNext", "So ", " the end\n"),
        ("Now what? Yes", "Now", " what?"),
        ("Thus it goes on", "Thus", " it goes on"),
    ],
)
def test_a_segment_ends_with_its_sentence(text: str, cue: str, expected: str) -> None:
    start, end = segment(text, cue, 0)
    assert text[start:end] == expected
