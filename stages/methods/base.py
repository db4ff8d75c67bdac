"""What all methods share: requests, completions, segments, and the base classes.

A machine does no I/O. `next_request` returns what to ask of which engine, `feed` takes the result:
the same machine runs with engines, in a replay and in a test.
"""

import itertools
import re
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from pydantic import Field, field_validator

from stages.config.block import Block

PromptName = Literal["plain", "steps"]
CueChoice = Literal["none", "pair", "mined", "published", "all"]
Handoff = Literal["tokens", "text"]
FinishReason = Literal["stop", "length"]
FINISHED = get_args(FinishReason)
HALF = "\N{REPLACEMENT CHARACTER}"  # what the bytes of half a character decode to
ENTROPY = "entropy"  # the router that needs no file
OF_PAIR = "pair"  # the router that a pair names


class Marks(Block):
    """What divides a text: the end of the reasoning, and the ends of sentences.

    The defaults are those of the paper. `sentence_ends`: where the small model of a relay stops.
    `content`: a regular expression, found in a token that carries content rather than wording.
    """

    think_end: str = Field("</think>", min_length=1)
    sentence_ends: list[str] = Field([".", "!", "?", "\n\n"], min_length=1)
    content: str = Field("[0-9]", min_length=1)

    @field_validator("content")
    @classmethod
    def a_pattern(cls, content: str) -> str:
        """A pattern that cannot be read would find nothing."""
        try:
            re.compile(content)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return content


@dataclass(frozen=True)
class Route:
    """Which tokens of a request the engine is to leave to the other model (R2R).

    `router`: `entropy`, or the file of a router that the engine has loaded. `threshold`: None for
    the router's own. `mark`: the token that the engine writes in place of one that it leaves, and
    that no answer has.
    """

    router: str
    threshold: float | None
    mark: int


@dataclass(frozen=True)
class Request:
    """One call of an engine: continue `prompt_ids` by at most `max_tokens` tokens.

    `prompt_ids` may be the machine's own list, which grows with the next `feed`. `stop`: strings at
    which the engine stops. `tentative`: `feed` may drop some or all of the completion. `logprobs`:
    how many of the likeliest tokens at each position are to come with their log probabilities.
    `route`: end before the first token that the router gives to the other model.
    """

    engine: str
    prompt_ids: list[int]
    max_tokens: int
    stop: tuple[str, ...] = ()
    tentative: bool = False
    logprobs: int = 0
    route: Route | None = None


@dataclass(frozen=True)
class Completion:
    """What an engine wrote. `stop`: the stop string that matched, None if the model ended the text.

    `text` ends with the stop string; `token_ids` end with the whole token that completed it.
    `cached_tokens`: tokens of the prompt that were in the prefix cache. `likeliest`: log
    probabilities of the likeliest tokens at each position, in descending order, if asked for.
    `routed`: it ends before a token that is the other model's to write, and may be empty.
    `accepted`: by step, how many drafted tokens the engine accepted; empty if it drafts none.
    """

    token_ids: list[int]
    text: str
    finish_reason: FinishReason
    stop: str | None = None
    cached_tokens: int = 0
    likeliest: tuple[tuple[float, ...], ...] = ()
    routed: bool = False
    accepted: tuple[int, ...] = ()


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
    `min_tokens`: the first tokens of a segment, in which cues do not count. `reasoned`: whether the
    prompt ends with a whole reasoning, so that the answer stage follows.
    """

    prompt_ids: list[int]
    budget: int
    decode: Callable[[Sequence[int]], str]
    encode: Callable[[str], list[int]]
    marks: Marks = field(default_factory=Marks)
    reasoned: bool = False
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

    @property
    def probabilities(self) -> int:
        """Return of how many likeliest tokens it needs the probabilities from the last role."""
        return 0

    @property
    def routers(self) -> Mapping[str, str]:
        """Return {role: router} of engines that route tokens: `entropy`, or a router's file."""
        return {}

    @abstractmethod
    def start(self, setting: Setting) -> Machine:
        """Return the machine that answers one problem."""


def model_of(engine: str) -> Literal["large", "small"]:
    """Return whose tokens an engine writes; with a draft head they are the large model's."""
    return "small" if engine == "small" else "large"


def reasoning_end(ids: Sequence[int], setting: Setting, known: int = 0) -> int | None:
    """Return the position after the token that completes the tag that ends the reasoning.

    None if there is no tag. `known`: tokens at the beginning that hold no whole tag.
    """
    tag = setting.marks.think_end
    first = max(0, known - len(tag.encode()))  # a token has a byte or more
    new = list(ids[first:])

    def holds(n: int) -> bool:
        return tag in setting.decode(new[:n])

    if not holds(len(new)):
        return None
    return first + bisect_left(range(len(new)), True, key=holds)


def extend(answer: Answer, ids: list[int], setting: Setting) -> int:
    """Add tokens to an answer, whose reasoning they may end; return how many are reasoning."""
    before = len(answer.token_ids)
    answer.token_ids += ids
    if answer.answer_start is not None:
        return 0
    answer.answer_start = reasoning_end(answer.token_ids, setting, known=before)
    if answer.answer_start is None:
        return len(ids)
    return max(0, answer.answer_start - before)


def add_segments(
    answer: Answer, model: Literal["large", "small"], n_reasoning: int, n_tokens: int, wall_s: float
) -> None:
    """Add the tokens of one request: `n_reasoning` of the reasoning, the rest in the answer stage.

    Each part gets the share of the time that it has of the tokens: engines report no other.
    """
    share = wall_s / max(1, n_tokens)
    if n_reasoning:
        answer.segments.append(Segment(model, "reasoning", n_reasoning, None, share * n_reasoning))
    if n := n_tokens - n_reasoning:
        answer.segments.append(Segment(model, "answer", n, None, share * n))
