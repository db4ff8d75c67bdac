"""RelayGen: L reasons and hands easy segments to S (docs/method.md, paper section 3).

L stops at a cue, S writes to the end of the sentence, L goes on; S writes the answer stage. Other
rules of who writes when are a policy (docs/policies.md); the paper's is the default one.
"""

from collections import Counter
from dataclasses import replace
from typing import Literal

from pydantic import Field, model_validator

from stages.methods import base
from stages.methods.base import Completion, Handoff, Request, Segment, Setting, model_of
from stages.methods.matching import CueMatching, starts_word
from stages.methods.policies import PAPER, Mode, Policy
from stages.methods.policies.leaving import AtCue, AtProbe
from stages.methods.policies.returning import whole
from stages.methods.policies.sureness import TOP_TWENTY, TOP_TWO, margins_of

LAST_TOKENS = 8  # a character has at most four bytes, and a token at least one


class Method(Policy, base.Method):
    """A line with `kind: relay`. `large` and `small` are the engines that play L and S.

    What it leaves open (None) is filled in from the pair and from the block `relay`; the policy is
    the paper's.
    """

    kind: Literal["relay"]
    large: str
    small: str
    cue_matching: CueMatching | None = None
    answer_engine: Literal["small", "large"] | None = None
    min_tokens: int | None = Field(None, ge=0)
    handoff: Handoff | None = None

    @model_validator(mode="after")
    def sensible(self) -> "Method":
        """The rules go together."""
        self.check(self.cues)
        if self.answer_margin and self.answer_engine == "large":
            raise ValueError("answer_margin goes with answer_engine: small")
        if self.probabilities and self.handoff == "text":
            raise ValueError(
                "handoff: text brings no probabilities, by which this policy goes: use tokens"
            )
        return self

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.large, self.small)

    @property
    def hands_over_text(self) -> bool:
        return self.handoff == "text"

    def start(self, setting: Setting) -> "Relay":
        own = {
            name: getattr(self, name) for name in ("cue_matching", "answer_engine", "min_tokens")
        }
        given = {name: value for name, value in own.items() if value is not None}
        return Relay(replace(setting, **given), self.large, self.small, self)


class Relay(base.Machine):
    """The relay's state: the tokens so far, which model writes, and what is left of the budget."""

    def __init__(self, setting: Setting, large: str, small: str, policy: Policy = PAPER) -> None:
        super().__init__(setting)
        self.policy = policy
        self.engines = {
            "plan": large,
            "large": large,
            "probe": small,
            "small": small,
            "answer": large if setting.answer_engine == "large" else small,
            "revision": large,
        }
        self.mode: Mode = "plan" if policy.plan else policy.starts
        self.ids = list(setting.prompt_ids)
        self.left = setting.budget
        self.refused_tokens = 0  # of this segment, up to the last match that was not a cue
        self.last_char = ""
        self.last_engine = ""
        self.longer = 1  # times the tokens of a turn that broke off inside a character or a tag
        self.dropped_s = 0.0  # seconds of what was dropped since the last tokens that were kept
        self.sentences: Counter[str] = Counter()  # of S

    def next_request(self) -> Request | None:
        if self.answer.finish_reason:
            return None
        engine, policy = self.engines[self.mode], self.policy
        match self.mode:
            case "probe":
                return Request(engine, self.ids, 1, tentative=True, logprobs=TOP_TWENTY)
            case "answer" if self._margin_of_answer:
                return Request(engine, self.ids, self.left, tentative=True, logprobs=TOP_TWO)
            case "answer" | "revision":
                return Request(engine, self.ids, self.left)
        stops = (*policy.stops(self.mode, self.setting), self.setting.marks.think_end)
        if self.mode == "small":
            return Request(engine, self.ids, self.left, stops, bool(policy.early), policy.logprobs)
        limit = self._turn
        return Request(engine, self.ids, min(limit or self.left, self.left), stops, bool(limit))

    @property
    def _turn(self) -> int | None:
        """Return after how many tokens L leaves; None if something else says when."""
        n = self.policy.turn(self.mode)
        return n and n * self.longer

    @property
    def _margin_of_answer(self) -> float | None:
        """Return the least margin of an answer stage that is kept; None if any is."""
        return self.policy.answer_margin if self.setting.answer_engine == "small" else None

    def feed(self, completion: Completion, wall_s: float) -> None:
        super().feed(completion, wall_s)
        match self.mode:
            case "probe":
                self._probed(completion, wall_s)
            case "answer" | "revision":
                self._answered(completion, wall_s)
            case "small" if (kept := self.policy.kept(completion, self.setting)) is not None:
                self._return(kept, wall_s)
            case "large" | "plan" if self._turn_is_over(completion):
                self._leave_after(completion, wall_s)
            case _:
                self._reasoned(completion, wall_s)

    def _reasoned(self, completion: Completion, wall_s: float) -> None:
        """Go on behind a part of the reasoning, all of which is kept."""
        if completion.finish_reason == "length":
            self._take(completion.token_ids, None, wall_s)
            self._end_reasoning(missing_tag=True)
        elif completion.stop is None:
            # The model ended the text inside the reasoning: its end-of-text token is dropped.
            self._take(completion.token_ids[:-1], None, wall_s)
            self._end_reasoning(missing_tag=True)
        elif completion.stop == self.setting.marks.think_end:
            self._take(completion.token_ids, None, wall_s)
            self._end_reasoning(missing_tag=False)
        else:
            self._switch(completion, completion.stop, wall_s)

    def _switch(self, completion: Completion, stop: str, wall_s: float) -> None:
        """Hand over to S where L leaves, and to L where S does not stay."""
        at_cue = self.mode == "large" and isinstance(self.policy.leave, AtCue)
        if at_cue and not self._is_cue(completion, stop):
            self._take(completion.token_ids, None, wall_s)
            self.refused_tokens += len(completion.token_ids)
            self.last_char = self._last_char(completion.token_ids)
            self._stop_if_spent()
            return
        ids = self._up_to_stop(completion, stop)
        self._take(ids, stop if at_cue else None, wall_s)
        probes = isinstance(self.policy.leave, AtProbe)
        after_large: Mode = "probe" if probes else "small"
        self._go_on_in(self._after_small(completion) if self.mode == "small" else after_large, ids)

    def _go_on_in(self, mode: Mode, ids: list[int]) -> None:
        """Begin a model's turn; `ids`: what was kept last."""
        self.mode = mode
        self.refused_tokens, self.longer = 0, 1
        self.last_char = self._last_char(ids)
        self._stop_if_spent()

    def _after_small(self, completion: Completion) -> Mode:
        """Return who writes after a sentence of S."""
        sentence = completion.text.strip()
        self.sentences[sentence] += 1
        repeats = self.policy.loop and self.sentences[sentence] >= self.policy.loop
        stays = not repeats and self.policy.stay.goes_on(completion, self.setting)
        return "small" if stays else "large"

    def _return(self, ids: list[int], wall_s: float) -> None:
        """Keep what S wrote before an unsure token, and go on with L."""
        if ids:
            self._take(ids, None, wall_s)
        else:
            self.dropped_s += wall_s
        self._go_on_in("large", ids or self.ids[-LAST_TOKENS:])

    def _turn_is_over(self, completion: Completion) -> bool:
        """Return whether L has written the tokens of its turn, and some of the budget is left."""
        n = len(completion.token_ids)
        return completion.finish_reason == "length" and n == self._turn and n < self.left

    def _leave_after(self, completion: Completion, wall_s: float) -> None:
        """Go on after the tokens of L's turn, less those inside a character or tag.

        If that is all of them, L is asked for more.
        """
        ids = whole(completion.token_ids, self.setting.marks.think_end, self.setting.decode)
        if not ids:
            self.longer *= 2
            self.dropped_s += wall_s
            return
        self._take(ids, None, wall_s)
        self._go_on_in(self.policy.starts if self.mode == "plan" else "small", ids)

    def _probed(self, completion: Completion, wall_s: float) -> None:
        """Give the next sentence to S if it was sure of its first token; that token is dropped."""
        assert isinstance(self.policy.leave, AtProbe)
        self.dropped_s += wall_s
        self.mode = "small" if self.policy.leave.leaves(completion) else "large"

    def _answered(self, completion: Completion, wall_s: float) -> None:
        """End the answer, or have L write it again where S was unsure."""
        least = self._margin_of_answer if self.mode == "answer" else None
        if least and min(margins_of(completion, "content", self.setting), default=1) < least:
            self.mode, self.dropped_s = "revision", self.dropped_s + wall_s
            return
        self._take(completion.token_ids, None, wall_s)
        self.answer.finish_reason = completion.finish_reason

    def _is_cue(self, completion: Completion, stop: str) -> bool:
        """Return whether a match counts: not in a segment's first tokens, and not inside a word.

        The engine's own `min_tokens` would ignore the reasoning's end in the first tokens, too.
        """
        if self.refused_tokens + len(completion.token_ids) <= self.setting.min_tokens:
            return False
        if self.setting.cue_matching == "substring":
            return True
        text = self.last_char + completion.text
        return starts_word(text, len(text) - len(stop))

    def _last_char(self, ids: list[int]) -> str:
        """Return the last character of token ids: a few decode faster than all."""
        return self.setting.decode(ids[-LAST_TOKENS:])[-1:]

    def _up_to_stop(self, completion: Completion, stop: str) -> list[int]:
        """Return the ids without a token that only has the cue's trailing blank ("So" | " the")."""
        ids = completion.token_ids
        needed = completion.text.rstrip(" ")
        if stop.endswith(" "):
            while len(ids) > 1 and self.setting.decode(ids[:-1]).startswith(needed):
                ids = ids[:-1]
        return ids

    def _take(self, ids: list[int], cue: str | None, wall_s: float) -> None:
        """Keep `ids`: in the last segment if the same model goes on with it."""
        answering = self.mode in ("answer", "revision")
        stage: Literal["reasoning", "answer"] = "answer" if answering else "reasoning"
        self.ids += ids
        self.left -= len(ids)
        self.answer.token_ids += ids
        wall_s, self.dropped_s = wall_s + self.dropped_s, 0.0
        engine, before = self.engines[self.mode], self.last_engine
        last = self.answer.segments[-1] if self.answer.segments else None
        if last and (engine, stage) == (before, last.stage):
            last.n_tokens += len(ids)
            last.wall_s += wall_s
            last.cue = cue
        else:
            self.answer.segments.append(Segment(model_of(engine), stage, len(ids), cue, wall_s))
        self.last_engine = engine

    def _stop_if_spent(self) -> None:
        if self.left <= 0:
            self._end_reasoning(missing_tag=True)

    def _end_reasoning(self, missing_tag: bool) -> None:
        """Begin the answer stage; a missing tag is added, and counts for the budget."""
        tag = self.setting.encode(f"\n{self.setting.marks.think_end}") if missing_tag else []
        self.ids += tag
        self.left -= len(tag)
        self.answer.token_ids += tag
        self.answer.answer_start = len(self.answer.token_ids)
        self.mode = "answer"
        self.refused_tokens = 0
        if self.left <= 0:
            self.answer.finish_reason = "length"
