"""Where in a text a cue counts, and what its segment is: one rule for mining and for the relay."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

CueMatching = Literal["boundary", "substring"]
# Published; the sentence ends of a relay have a blank line instead of a line end.
SEGMENT_ENDS = (".", "!", "?", "\n")


@dataclass(frozen=True)
class CueSet:
    """The cues that L stops at, and where in a word they count."""

    cues: tuple[str, ...]
    matching: CueMatching = "boundary"


def starts_word(text: str, position: int) -> bool:
    """Return whether `position` of `text` is the start of a word ("now" in "know" is not)."""
    return position == 0 or not text[position - 1].isalnum()


def occurrences(text: str, cue: str, matching: CueMatching) -> Iterator[int]:
    """Yield the positions of `cue` in `text`, from left to right, without overlap."""
    for match in re.finditer(re.escape(cue), text):
        if matching == "substring" or starts_word(text, match.start()):
            yield match.start()


def segment(
    text: str, cue: str, position: int, ends: Sequence[str] = SEGMENT_ENDS
) -> tuple[int, int]:
    """Return the segment of the cue at `position`: characters [start, end) of `text`.

    It starts after the cue without its trailing blank, which belongs to the next word's token, and
    ends with the first of the characters `ends`, which is part of it, as S writes it online.
    """
    start = position + len(cue.rstrip(" "))
    found = (text.find(end, start) for end in ends)
    return start, min((end + 1 for end in found if end >= 0), default=len(text))
