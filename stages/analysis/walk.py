"""Where a policy would hand over on a trace that the large model wrote, by tables over its tokens.

The rules are those of stages.methods.relay. All that does not depend on a threshold is worked out
once per trace: where each stop string is met next, from any token on. A walk looks these up, so
that a grid of thresholds takes little more than one of them.

What S would have written is not in a trace: its tokens here are L's, its margins those at L's
tokens. For `probe`, S is taken to be as sure as its margin allows: the entropy of two tokens.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stages.methods.base import Answer, Segment, Setting
from stages.methods.offline import TraceEngine
from stages.methods.policies import Policy
from stages.methods.policies.leaving import AfterTokens, AtCue, AtProbe
from stages.methods.policies.returning import unfinished
from stages.methods.policies.staying import OneSentence, WhileSure
from stages.methods.policies.sureness import Tokens, positions

Model = Literal["large", "small"]
Margins = NDArray[np.float64]
NOWHERE = 2**62  # behind any text


@dataclass(frozen=True)
class Stops:
    """The stop string that is met first, from each token on: lists of [tokens + 1].

    `raw`: one past the token that completes it; `kept`: the same without a token that only its
    trailing blank reaches; `word`: whether it begins at the start of a word. `raw` is NOWHERE
    without one.
    """

    raw: list[int]
    kept: list[int]
    word: list[bool]


class Walked:
    """A trace, ready for walks. `margins`: S's at each token; 1 where it was not asked."""

    def __init__(
        self, ids: Sequence[int], margins: Margins, tokenizer: Tokenizer, rules: Setting
    ) -> None:
        engine = TraceEngine(ids, tokenizer)
        self.rules, self.ids, self.margins = rules, engine.ids, margins
        self.text, self.ends = engine.text, np.array(engine.ends, dtype=np.int64)
        self.n = len(ids)
        tag = self.text.find(rules.marks.think_end)
        self.tag = tag + len(rules.marks.think_end) if tag >= 0 else NOWHERE
        # An end-of-text token inside the reasoning is nobody's.
        self.cut_short = tag < 0 and engine.ended
        self.reasoning = self.n - self.cut_short if tag < 0 else self._past(self.tag)
        self.last = self.reasoning + self.cut_short
        self.cues = self._stops(rules.cues)
        self.sentences = self._stops(rules.marks.sentence_ends)
        self.whole = self._whole()
        self._counted: dict[Tokens, NDArray[np.int64]] = {}
        self._unsure: dict[tuple[Tokens, float], list[int]] = {}
        self._next_cue: dict[int, tuple[int, bool]] = {}

    def _past(self, end: int) -> int:
        """Return one past the token that reaches the first `end` characters."""
        return int(np.searchsorted(self.ends, end)) + 1

    def _stops(self, stops: Sequence[str]) -> Stops:
        """Return where the first of `stops` is met from each token on, within the reasoning."""
        begins = np.concatenate([[0], self.ends])
        start, end, kept = (np.full(self.n + 1, NOWHERE) for _ in range(3))
        for stop in stops:
            at = np.array([*found(self.text, stop), NOWHERE], dtype=np.int64)
            first = at[np.searchsorted(at, begins)]
            better = first + len(stop) < end
            start[better], end[better] = first[better], first[better] + len(stop)
            kept[better] = first[better] + len(stop.rstrip(" "))
        met = (end <= self.tag) & (end <= len(self.text))
        raw = np.where(met, np.searchsorted(self.ends, end) + 1, NOWHERE)
        past = np.maximum(np.searchsorted(self.ends, kept) + 1, np.arange(self.n + 1) + 1)
        alnum = np.array([False, *map(str.isalnum, self.text)])
        word = ~alnum[np.where(met, start, 0)]
        return Stops(raw.tolist(), np.where(met, past, NOWHERE).tolist(), word.tolist())

    def _whole(self) -> list[int]:
        """Return for each number of tokens the highest up to it that ends in no half character.

        Nor inside the tag that ends the reasoning.
        """
        tag, ends = self.rules.marks.think_end, [0, *self.ends.tolist()]
        pieces = pairwise(ends)
        ready = [
            at + 1
            if end > begin and not unfinished(self.text[max(0, end - len(tag)) : end], tag)
            else 0
            for at, (begin, end) in enumerate(pieces)
        ]
        return [0, *accumulate(ready, max)]

    def counted(self, which: Tokens) -> NDArray[np.int64]:
        """Return the tokens that count."""
        if which not in self._counted:
            self._counted[which] = np.array(positions(self.ids, which, self.rules), dtype=np.int64)
        return self._counted[which]

    def unsure(self, which: Tokens, margin: float, at: int) -> int:
        """Return the first token from `at` on that counts and has a lower margin."""
        if (which, margin) not in self._unsure:
            counted = self.counted(which)
            low = counted[self.margins[counted] < margin]
            self._unsure[which, margin] = [*low.tolist(), NOWHERE]
        places = self._unsure[which, margin]
        return places[bisect_left(places, at)]

    def next_cue(self, at: int) -> tuple[int, bool]:
        """Return where L, which writes from `at` on, leaves at a cue; see `turn`."""
        if at not in self._next_cue:
            self._next_cue[at] = self._look_for_cue(at)
        return self._next_cue[at]

    def _look_for_cue(self, at: int) -> tuple[int, bool]:
        place = at
        while (raw := self.cues.raw[place]) != NOWHERE:
            counts = self.rules.cue_matching == "substring" or self.cues.word[place]
            if counts and raw - at > self.rules.min_tokens:
                return self.cues.kept[place], True
            place = raw
        return self.reasoning, False

    def sentence(self, at: int) -> tuple[int, bool]:
        """Return where the sentence at `at` ends, and False if the reasoning ends before it."""
        kept = self.sentences.kept[at]
        return (self.reasoning, False) if kept == NOWHERE else (kept, True)

    def after(self, at: int, n: int) -> tuple[int, bool]:
        """Return where a turn of `n` tokens ends: with more, if it would end inside a character."""
        while at + n < self.last:
            if (end := self.whole[at + n]) > at:
                return end, True
            n *= 2
        return self.reasoning, False


class Walk:
    """One policy on one trace. `dropped`: tokens that S writes for nothing, were they L's."""

    def __init__(self, trace: Walked, policy: Policy) -> None:
        self.trace, self.policy = trace, policy
        self.segments: list[Segment] = []
        self.dropped = 0

    def answer(self) -> Answer:
        """Return who would have written what. Its token ids are left out."""
        trace, at, goes_on = self.trace, 0, True
        writer: Model = self.policy.starts
        if self.policy.plan:
            end, goes_on = trace.after(0, self.policy.plan)
            at = self._take("large", 0, end)
        while goes_on and at < trace.last:
            end, goes_on = self.by_small(at) if writer == "small" else self.by_large(at)
            if writer == "large" or not goes_on or end > at:
                self._take(writer, at, end)
            at, writer = end, self._next(writer, end)
        if trace.reasoning < trace.n and not trace.cut_short:
            self._take("large" if trace.rules.answer_engine == "large" else "small",
                       trace.reasoning, trace.n, "answer")  # fmt: skip
        return Answer(segments=self.segments)

    def _take(
        self, model: Model, at: int, end: int, stage: Literal["reasoning", "answer"] = "reasoning"
    ) -> int:
        last = self.segments[-1] if self.segments else None
        if last and (last.model, last.stage) == (model, stage):
            last.n_tokens += end - at
        else:
            self.segments.append(Segment(model, stage, end - at, None, 0.0))
        return end

    def _next(self, writer: Model, at: int) -> Model:
        """Return who writes after `writer` has left."""
        leave = self.policy.leave
        if writer == "small" or not isinstance(leave, AtProbe):
            return "large" if writer == "small" else "small"
        self.dropped += 1
        sure = at < self.trace.n and least_entropy(self.trace.margins[at]) < leave.entropy
        return "small" if sure else "large"

    def by_large(self, at: int) -> tuple[int, bool]:
        """Return where L's turn ends, and whether the reasoning goes on there."""
        match self.policy.leave:
            case AtCue():
                return self.trace.next_cue(at)
            case AfterTokens(n=n):
                return self.trace.after(at, n)
        return self.trace.sentence(at)

    def by_small(self, at: int) -> tuple[int, bool]:
        """Return where S's turn ends, and whether the reasoning goes on there."""
        trace, early = self.trace, self.policy.early
        if not self.policy.by_sentences:
            return trace.reasoning, False
        while at < trace.last:
            end, goes_on = trace.sentence(at)
            read = trace.sentences.raw[at] if goes_on else trace.last
            if early and (unsure := trace.unsure(early.tokens, early.margin, at)) < read:
                kept = max(at, trace.whole[unsure])
                self.dropped += min(read, trace.reasoning) - kept
                return kept, True
            if not goes_on or not self._stays(at, read):
                return end, goes_on
            at = end
        return at, True

    def _stays(self, at: int, end: int) -> bool:
        """Return whether S goes on after the sentence [at, end)."""
        match self.policy.stay:
            case OneSentence():
                return False
            case WhileSure(margin=margin, of="lowest", tokens=which):
                return self.trace.unsure(which, margin, at) >= end
            case WhileSure(margin=margin, tokens=which):
                counted = self.trace.counted(which)
                inside = counted[np.searchsorted(counted, at) : np.searchsorted(counted, end)]
                return not len(inside) or bool(self.trace.margins[inside].mean() >= margin)
        return True


def found(text: str, stop: str) -> list[int]:
    """Return all places of `stop` in a text, overlapping ones too."""
    places, at = [], text.find(stop)
    while at >= 0:
        places.append(at)
        at = text.find(stop, at + 1)
    return places


def least_entropy(margin: float) -> float:
    """Return the entropy in nats of two tokens with this margin, and no others."""
    likeliest = np.array([(1 + margin) / 2, max(1e-9, (1 - margin) / 2)])
    return float(-(likeliest * np.log(likeliest)).sum())
