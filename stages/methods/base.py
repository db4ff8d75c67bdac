"""What every method shares: requests, completions, segments, and the machine that asks for them.

A machine holds no I/O. It says what to ask next (`next_request`) and is told what came of it
(`feed`), so that the same machine runs online, in a replay and in a test.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stages.config.block import Block

PromptName = Literal["plain", "steps"]
CueChoice = Literal["none", "pair", "mined", "published", "all"]
Handoff = Literal["tokens", "text"]
THINK_END = "</think>"


@dataclass(frozen=True)
class Request:
    """One call of an engine: continue `prompt_ids` by at most `max_tokens` tokens.

    `prompt_ids` may be the machine's own list: what it is fed next goes to the end of it.
    """

    engine: str
    prompt_ids: list[int]
    max_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Completion:
    """What an engine wrote. `stop` is the stop string that matched; None: it ended on its own.

    `text` ends with the stop string; `token_ids` hold the whole token that completed it.
    `cached_tokens`: how many of the prompt were in the prefix cache.
    """

    token_ids: list[int]
    text: str
    finish_reason: Literal["stop", "length"]
    stop: str | None = None
    cached_tokens: int = 0


@dataclass
class Segment:
    """A stretch written by one model. `cue` is what ended it and handed over, if anything did."""

    model: Literal["large", "small"]
    stage: Literal["reasoning", "answer"]
    n_tokens: int
    cue: str | None
    wall_s: float


@dataclass(frozen=True)
class Setting:
    """All that shapes one answer besides the method's own line.

    `budget`: completion tokens of the whole answer. `cues`: what L stops at, `min_tokens`: how many
    tokens of a segment no cue may end.
    """

    prompt_ids: list[int]
    budget: int
    decode: Callable[[Sequence[int]], str]
    encode: Callable[[str], list[int]]
    cues: tuple[str, ...] = ()
    cue_matching: Literal["boundary", "substring"] = "boundary"
    min_tokens: int = 5
    answer_engine: str = "small"


@dataclass
class Answer:
    """An answer so far. `answer_start`: where in token_ids the answer stage begins."""

    token_ids: list[int] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    finish_reason: Literal["stop", "length"] | None = None
    answer_start: int | None = None

    @property
    def n_switches(self) -> int:
        """Hand-offs between models, both ways."""
        models = [segment.model for segment in self.segments]
        return sum(a != b for a, b in itertools.pairwise(models))

    def tokens_by(self, model: str) -> int:
        """Tokens that `model` wrote and that were kept."""
        return sum(segment.n_tokens for segment in self.segments if segment.model == model)


class Machine(ABC):
    """One answer under way."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.answer = Answer()

    @abstractmethod
    def next_request(self) -> Request | None:
        """What to ask next; None when the answer is finished."""

    @abstractmethod
    def feed(self, completion: Completion, wall_s: float) -> None:
        """Take what came of the last request; `wall_s` is how long it took, in seconds."""


class Method(Block, ABC):
    """A line under `methods:` in params.yaml."""

    kind: str
    cues: CueChoice

    @property
    @abstractmethod
    def roles(self) -> tuple[str, ...]:
        """The engines that this method needs, by role."""

    @property
    def prompt_column(self) -> str:
        """The column of a problem set that holds the tokens of the question as it is asked."""
        return "prompt_ids"

    @property
    def hands_over_text(self) -> bool:
        """Whether its requests hold the whole text instead of token ids, as the released client."""
        return False

    @abstractmethod
    def start(self, setting: Setting) -> Machine:
        """The machine that answers one problem."""


def model_of(engine: str) -> Literal["large", "small"]:
    """Whose tokens an engine's are: a draft head changes the large model's speed, not its words."""
    return "small" if engine == "small" else "large"


def after(ids: list[int], marker: list[int]) -> int | None:
    """The position behind the first occurrence of `marker` in `ids`, None if there is none."""
    for start in range(len(ids) - len(marker) + 1):
        if ids[start : start + len(marker)] == marker:
            return start + len(marker)
    return None


def add_stretch(
    answer: Answer, model: Literal["large", "small"], n_reasoning: int, n_tokens: int, wall_s: float
) -> None:
    """Add what one request wrote: `n_reasoning` tokens up to </think>, the rest of the answer.

    The time is shared out by tokens: the engine reports none for a part of a request.
    """
    share = wall_s / max(1, n_tokens)
    if n_reasoning:
        answer.segments.append(Segment(model, "reasoning", n_reasoning, None, share * n_reasoning))
    if n := n_tokens - n_reasoning:
        answer.segments.append(Segment(model, "answer", n, None, share * n))
