"""Where a cue counts as one: the same rule offline (mining) and online (the relay)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

CueMatching = Literal["boundary", "substring"]

# Online, in S's mode; offline, for cue effects (the released lists differ in the line end).
SENTENCE_ENDS = (".", "!", "?", "\n\n")
SEGMENT_ENDS = ".!?\n"
SEGMENT_END = re.compile(f"[{SEGMENT_ENDS}]")


@dataclass(frozen=True)
class CueSet:
    """The cues that L stops at, and where in a word they count."""

    cues: tuple[str, ...]
    matching: CueMatching = "boundary"


def starts_word(text: str, position: int) -> bool:
    """Whether a cue at `position` of `text` is at a word's start ("now" in "know" is not)."""
    return position == 0 or not text[position - 1].isalnum()


def occurrences(text: str, cue: str, matching: CueMatching) -> Iterator[int]:
    """Positions of `cue` in `text`, from left to right, without overlap."""
    for match in re.finditer(re.escape(cue), text):
        if matching == "substring" or starts_word(text, match.start()):
            yield match.start()


def segment(text: str, cue: str, position: int) -> tuple[int, int]:
    """The stretch that the cue at `position` leads into: characters [start, end) of `text`.

    It begins behind the cue, whose trailing blank belongs to the next word's token, and ends with
    the sentence (its full stop included, as S writes it online).
    """
    start = position + len(cue.rstrip(" "))
    end = SEGMENT_END.search(text, start)
    return start, end.end() if end else len(text)
