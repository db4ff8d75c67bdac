"""Speculative Thinking (arXiv 2504.12329): S writes, and L takes over where S reflects.

At the start of each paragraph S drafts a few tokens. A draft with a word of reflection or of
confidence is dropped, and L writes these tokens instead. After a word of verification in the kept
text, or after many negative drafts, L writes a longer part. The rules are the same in reasoning and
answer.
"""

from dataclasses import dataclass
from typing import Literal

from stages.methods import base
from stages.methods.base import (
    HALF,
    Completion,
    PromptName,
    Request,
    Setting,
    add_segments,
    extend,
    model_of,
)

PARAGRAPH = "\n\n"
POSITIVE = ("yeah", "yes", "final answer", "confident")
VERIFY = ("verify", "think again", "recap", "check")
NEGATIVE = ("wait", "alternatively", "hold on", "another", *VERIFY)
DRAFT_TOKENS = 20
VERIFY_TOKENS = 125
CHARACTER_TOKENS = 4  # at most: a token has a byte or more
CHECK = "Let me check whether there are some wrong steps:"

Mode = Literal["write", "draft", "take_over", "verify", "check"]
Mood = Literal["positive", "negative", "neutral"]


class Method(base.Method):
    """A line with `kind: spec_think`. `prompt`: `steps` asks for the paragraphs that it needs."""

    kind: Literal["spec_think"]
    cues: Literal["none"]
    large: str
    small: str
    prompt: PromptName = "plain"

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.large, self.small)

    @property
    def prompt_column(self) -> str:
        return "prompt_ids" if self.prompt == "plain" else "steps_prompt_ids"

    def start(self, setting: Setting) -> "SpecThink":
        return SpecThink(setting, self.large, self.small)


def count(words: tuple[str, ...], text: str) -> int:
    """Return how often any of `words` occurs in `text`, as a substring, in any case."""
    return sum(text.lower().count(word) for word in words)


def mood(text: str) -> Mood:
    """Return the mood of a draft by its words; negative if there are as many of both kinds."""
    positive, negative = count(POSITIVE, text), count(NEGATIVE, text)
    if not positive and not negative:
        return "neutral"
    return "positive" if positive > negative else "negative"


@dataclass
class Patience:
    """Negative drafts so far. At `threshold`, L checks with `tokens` tokens; both then grow."""

    negatives: int = 0
    threshold: int = 15
    tokens: int = VERIFY_TOKENS

    @property
    def spent(self) -> bool:
        """Return whether L is to check the steps now."""
        return self.negatives >= self.threshold

    def renew(self) -> None:
        """Start again after a check."""
        self.negatives = 0
        self.threshold = min(30, self.threshold + 5)
        self.tokens = min(200, self.tokens + 25)


class SpecThink(base.Machine):
    """The state of an answer: the tokens so far, which model writes next, and why."""

    def __init__(self, setting: Setting, large: str, small: str) -> None:
        super().__init__(setting)
        self.engines = {"write": small, "draft": small}
        self.large = large
        self.mode: Mode = "write"
        self.patience = Patience()
        self.dropped_s = 0.0  # seconds of a draft that was dropped

    def next_request(self) -> Request | None:
        if self.answer.finish_reason:
            return None
        left = self.setting.budget - len(self.answer.token_ids)
        engine = self.engines.get(self.mode, self.large)
        ids = [*self.setting.prompt_ids, *self.answer.token_ids]
        if self.mode == "write":
            return Request(engine, ids, left, stop=(PARAGRAPH,))
        tokens = {
            "draft": DRAFT_TOKENS,
            "take_over": DRAFT_TOKENS,
            "verify": VERIFY_TOKENS,
            "check": self.patience.tokens,
        }
        return Request(engine, ids, min(tokens[self.mode], left), tentative=self.mode == "draft")

    def feed(self, completion: Completion, wall_s: float) -> None:
        super().feed(completion, wall_s)
        if self.mode == "draft" and mood(completion.text) != "neutral":
            self.patience.negatives += mood(completion.text) == "negative"
            self.dropped_s = wall_s
            self.mode = "take_over"
            return
        self._take(completion, wall_s)
        if len(self.answer.token_ids) >= self.setting.budget:
            self.answer.finish_reason = "length"
        elif completion.finish_reason == "stop" and completion.stop is None:
            self.answer.finish_reason = "stop"
        else:
            self._go_on(completion.text)

    def _go_on(self, kept: str) -> None:
        """Choose which model writes after `kept`."""
        if self.mode == "check":
            self.patience.renew()
        if self.mode == "write":
            self.mode = "draft"
        elif self.mode in ("draft", "take_over") and count(VERIFY, kept):
            self.mode = "verify"
        elif self.patience.spent:
            self._begin_check()
        else:
            self.mode = "write"

    def _begin_check(self) -> None:
        """Have the large model check what is there, if the budget has room for it."""
        check = self.setting.encode(CHECK)
        if len(self.answer.token_ids) + len(check) >= self.setting.budget:
            self.answer.finish_reason = "length"
            return
        self.answer.token_ids += check
        self.mode = "check"

    def _take(self, completion: Completion, wall_s: float) -> None:
        """Keep a completion, as a segment of the reasoning, of the answer, or as one of each."""
        model = model_of(self.engines.get(self.mode, self.large))
        ids = completion.token_ids
        if len(self.answer.token_ids) + len(ids) < self.setting.budget:
            ids = self._whole_characters(ids)
        n_reasoning = extend(self.answer, ids, self.setting)
        wall_s, self.dropped_s = wall_s + self.dropped_s, 0.0
        add_segments(self.answer, model, n_reasoning, len(ids), wall_s)

    def _whole_characters(self, ids: list[int]) -> list[int]:
        """Return the ids without those of half a character at their end.

        Behind half a character, vLLM takes the text of the whole prompt for what was written, and
        finds stop strings there.
        """
        for n in range(len(ids), max(0, len(ids) - CHARACTER_TOKENS), -1):
            if not self.setting.decode(ids[max(0, n - CHARACTER_TOKENS) : n]).endswith(HALF):
                return ids[:n]
        return ids
