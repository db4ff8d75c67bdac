"""Where in a text a cue counts, and what its segment is: one rule for mining and for the relay."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

CueMatching = Literal["boundary", "substring"]

# Online, where S stops; offline, where a cue's segment ends (the released lists differ in the line
# end).
SENTENCE_ENDS = (".", "!", "?", "\n\n")
SEGMENT_ENDS = ".!?\n"
SEGMENT_END = re.compile(f"[{SEGMENT_ENDS}]")


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


def segment(text: str, cue: str, position: int) -> tuple[int, int]:
    """Return the segment of the cue at `position`: characters [start, end) of `text`.

    It starts after the cue without its trailing blank, which belongs to the next word's token, and
    ends with the sentence, its full stop included, as S writes it online.
    """
    start = position + len(cue.rstrip(" "))
    end = SEGMENT_END.search(text, start)
    return start, end.end() if end else len(text)
