"""What a client sees of an answer while it is written: text in pieces, reasoning apart."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

# markup: the tags, and the blanks around them, which belong to neither part.
Kind = Literal["reasoning", "content", "markup"]
ModelName = Literal["large", "small"]


class StopFoundError(Exception):
    """A stop string of the client's ends the answer."""


@dataclass(frozen=True)
class Piece:
    """Some text of an answer, by one model. `cue`: the word at which it hands over, behind it."""

    kind: Kind
    text: str
    by: ModelName
    cue: str | None = None


class Splitter:
    """Cut an answer's text into reasoning, content and markup as it comes.

    Held back is only what may still become part of a tag or stop string, and blanks that may turn
    out to be the last before a tag or the end. `stops` end the content.
    """

    def __init__(self, begin: str, end: str, stops: Sequence[str], in_answer: bool) -> None:
        self.begin, self.end, self.stops = begin, end, stops
        self.held = ""
        self.state: Callable[[], Iterator[tuple[Kind, str]]]
        self.state = self._before_content if in_answer else self._before_reasoning

    def add(self, text: str) -> Iterator[tuple[Kind, str]]:
        """Yield what `text` completes; StopFoundError behind what stands before a stop string."""
        self.held += text
        state = None
        while state != self.state:
            state = self.state
            yield from state()

    def close(self) -> Iterator[tuple[Kind, str]]:
        """Yield what was held back, once nothing follows."""
        text = self.held.rstrip()
        kind: Kind = "reasoning" if self.state == self._reasoning else "content"
        yield from pieces((kind, text), ("markup", self.held[len(text) :]))
        self.held = ""

    def _before_reasoning(self) -> Iterator[tuple[Kind, str]]:
        """Pass over the opening tag, where the model writes it, and blanks around it."""
        text = self.held.lstrip()
        if self.begin.startswith(text) and text != self.begin:
            return
        rest = text.removeprefix(self.begin).lstrip()
        if rest:
            yield from self._take(len(self.held) - len(rest), "markup")
            self.state = self._reasoning

    def _reasoning(self) -> Iterator[tuple[Kind, str]]:
        """Pass on reasoning up to the closing tag."""
        at = self.held.find(self.end)
        if at < 0:
            yield from self._take(len(self.held) - undecided(self.held, [self.end]), "reasoning")
            return
        yield from self._take(len(self.held[:at].rstrip()), "reasoning")
        yield from self._take(self.held.index(self.end) + len(self.end), "markup")
        self.state = self._before_content

    def _before_content(self) -> Iterator[tuple[Kind, str]]:
        """Pass over the blanks before the content."""
        if rest := self.held.lstrip():
            yield from self._take(len(self.held) - len(rest), "markup")
            self.state = self._content

    def _content(self) -> Iterator[tuple[Kind, str]]:
        """Pass on content up to a stop string."""
        if places := [at for stop in self.stops if (at := self.held.find(stop)) >= 0]:
            yield from self._take(min(places), "content")
            self.held = ""
            raise StopFoundError
        yield from self._take(len(self.held) - undecided(self.held, self.stops), "content")

    def _take(self, n: int, kind: Kind) -> Iterator[tuple[Kind, str]]:
        """Yield the first `n` characters that were held."""
        text, self.held = self.held[:n], self.held[n:]
        yield from pieces((kind, text))


def pieces(*found: tuple[Kind, str]) -> Iterator[tuple[Kind, str]]:
    """Yield those that have a text."""
    yield from (piece for piece in found if piece[1])


def undecided(text: str, markers: Sequence[str]) -> int:
    """Return how many last characters of `text` may belong to a marker, or are blanks before it."""
    begun = max((begun_of(text, marker) for marker in markers), default=0)
    before = text[: len(text) - begun]
    return begun + len(before) - len(before.rstrip())


def begun_of(text: str, marker: str) -> int:
    """Return how many last characters of `text` are the first of `marker`."""
    longest = min(len(text), len(marker) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(marker[:n])), 0)


class Visible:
    """Pass on what engines write, request by request, as a client sees it.

    `show` takes each piece. Blanks at the end of what a request has written so far wait until it
    has ended: a method may leave them to the next model.
    """

    def __init__(self, splitter: Splitter, show: Callable[[Piece], None]) -> None:
        self.splitter, self.show = splitter, show
        self.heard = ""
        self.shown = 0  # characters of `heard`

    def hear(self, text: str, by: ModelName) -> None:
        """Take what the request under way has written."""
        self.heard += text
        self._show(self.heard.rstrip(" ")[self.shown :], by)

    def settle(self, kept: str, by: ModelName, cue: str | None) -> None:
        """Take the whole text that the method keeps of the request.

        Raises ValueError if it is not what was shown.
        """
        if not kept.startswith(self.heard[: self.shown]):
            raise ValueError(f"{self.heard[: self.shown][-40:]!r} was shown, and was not kept")
        self._show(kept[self.shown :], by)
        self.heard, self.shown = "", 0
        if cue:
            self.show(Piece("markup", "", by, cue))

    def close(self, by: ModelName) -> None:
        """Pass on what was held back, once the answer has ended."""
        for kind, text in self.splitter.close():
            self.show(Piece(kind, text, by))

    def _show(self, text: str, by: ModelName) -> None:
        """Pass on new text."""
        self.shown += len(text)
        for kind, piece in self.splitter.add(text):
            self.show(Piece(kind, piece, by))
