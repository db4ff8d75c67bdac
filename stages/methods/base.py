"""What all methods share: requests, completions, segments, and the base classes.

A machine does no I/O. `next_request` returns what to ask of which engine, `feed` takes the result:
the same machine runs with engines, in a replay and in a test.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from stages.config.block import Block

PromptName = Literal["plain", "steps"]
CueChoice = Literal["none", "pair", "mined", "published", "all"]
Handoff = Literal["tokens", "text"]
FinishReason = Literal["stop", "length"]
FINISHED = get_args(FinishReason)
THINK_START = "<think>"
THINK_END = "</think>"
HALF = "\N{REPLACEMENT CHARACTER}"  # what the bytes of half a character decode to


@dataclass(frozen=True)
class Request:
    """One call of an engine: continue `prompt_ids` by at most `max_tokens` tokens.

    `prompt_ids` may be the machine's own list, which grows with the next `feed`. `stop`: strings at
    which the engine stops. `tentative`: `feed` may drop all of the completion.
    """

    engine: str
    prompt_ids: list[int]
    max_tokens: int
    stop: tuple[str, ...] = ()
    tentative: bool = False


@dataclass(frozen=True)
class Completion:
    """What an engine wrote. `stop`: the stop string that matched, None if the model ended the text.

    `text` ends with the stop string; `token_ids` end with the whole token that completed it.
    `cached_tokens`: tokens of the prompt that were in the prefix cache.
    """

    token_ids: list[int]
    text: str
    finish_reason: FinishReason
    stop: str | None = None
    cached_tokens: int = 0


@dataclass
class Segment:
    """Consecutive tokens by one model. `cue`: the cue at which it handed over, None without one."""

    model: Literal["large", "small"]
    stage: Literal["reasoning", "answer"]
    n_tokens: int
    cue: str | None
    wall_s: float


@dataclass(frozen=True)
class Setting:
    """What shapes one answer besides the fields of its method.

    `budget`: completion tokens of the whole answer. `cues`: the strings at which L stops.
    `min_tokens`: the first tokens of a segment, in which cues do not count.
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
    """An answer so far. `answer_start`: the position in token_ids where the answer stage begins."""

    token_ids: list[int] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    answer_start: int | None = None

    @property
    def n_switches(self) -> int:
        """Return the number of hand-offs between the models, in both directions."""
        models = [segment.model for segment in self.segments]
        return sum(a != b for a, b in itertools.pairwise(models))

    def tokens_by(self, model: str) -> int:
        """Return the number of tokens that `model` wrote and that were kept."""
        return sum(segment.n_tokens for segment in self.segments if segment.model == model)


class Machine(ABC):
    """The state of one answer while it is written."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.answer = Answer()

    @abstractmethod
    def next_request(self) -> Request | None:
        """Return what to ask next; None when the answer is finished."""

    @abstractmethod
    def feed(self, completion: Completion, wall_s: float) -> None:
        """Take the result of the last request; `wall_s`: the seconds that it took.

        Raises ValueError for a completion that was broken off: no answer goes on from it.
        """
        if completion.finish_reason not in FINISHED:
            raise ValueError(f"a completion that ended with {completion.finish_reason!r}")


class Method(Block, ABC):
    """A line under `methods:` in params.yaml."""

    kind: str
    cues: CueChoice

    @property
    @abstractmethod
    def roles(self) -> tuple[str, ...]:
        """Return the roles of the engines that this method needs."""

    @property
    def prompt_column(self) -> str:
        """Return the column of a problem set with the prompts that this method uses."""
        return "prompt_ids"

    @property
    def hands_over_text(self) -> bool:
        """Return whether requests are text instead of token ids, as in the released code."""
        return False

    @abstractmethod
    def start(self, setting: Setting) -> Machine:
        """Return the machine that answers one problem."""


def model_of(engine: str) -> Literal["large", "small"]:
    """Return whose tokens an engine writes; with a draft head they are the large model's."""
    return "small" if engine == "small" else "large"


def after(ids: list[int], marker: list[int]) -> int | None:
    """Return the position after the first occurrence of `marker` in `ids`; None without one."""
    for start in range(len(ids) - len(marker) + 1):
        if ids[start : start + len(marker)] == marker:
            return start + len(marker)
    return None


def add_segments(
    answer: Answer, model: Literal["large", "small"], n_reasoning: int, n_tokens: int, wall_s: float
) -> None:
    """Add the tokens of one request: `n_reasoning` up to </think>, the rest in the answer stage.

    Each part gets the share of the time that it has of the tokens: engines report no other.
    """
    share = wall_s / max(1, n_tokens)
    if n_reasoning:
        answer.segments.append(Segment(model, "reasoning", n_reasoning, None, share * n_reasoning))
    if n := n_tokens - n_reasoning:
        answer.segments.append(Segment(model, "answer", n, None, share * n))
