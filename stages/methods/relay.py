"""RelayGen: L reasons and hands easy segments to S (docs/method.md, paper section 3).

L stops at a cue, S writes to the end of the sentence, L goes on; S writes the answer stage.
"""

from dataclasses import replace
from typing import Literal

from pydantic import Field

from stages.methods import base
from stages.methods.base import THINK_END, Completion, Handoff, Request, Segment, Setting, model_of
from stages.methods.matching import SENTENCE_ENDS, CueMatching, starts_word

Mode = Literal["large", "small", "answer"]
LAST_TOKENS = 8  # a character has at most four bytes, and a token at least one


class Method(base.Method):
    """A line with `kind: relay`. `large` and `small` are the engines that play L and S.

    What it leaves open (None) is filled in from the pair and from the block `relay`.
    """

    kind: Literal["relay"]
    large: str
    small: str
    cue_matching: CueMatching | None = None
    answer_engine: Literal["small", "large"] | None = None
    min_tokens: int | None = Field(None, ge=0)
    handoff: Handoff | None = None

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
        return Relay(replace(setting, **given), self.large, self.small)


class Relay(base.Machine):
    """The relay's state: the tokens so far, which model writes, and what is left of the budget."""

    def __init__(self, setting: Setting, large: str, small: str) -> None:
        super().__init__(setting)
        self.engines = {
            "large": large,
            "small": small,
            "answer": large if setting.answer_engine == "large" else small,
        }
        self.mode: Mode = "large"
        self.ids = list(setting.prompt_ids)
        self.left = setting.budget
        self.refused_tokens = 0  # of this segment, up to the last match that was not a cue
        self.last_char = ""

    def next_request(self) -> Request | None:
        if self.answer.finish_reason:
            return None
        engine = self.engines[self.mode]
        if self.mode == "answer":
            return Request(engine, self.ids, self.left)
        if self.mode == "small":
            return Request(engine, self.ids, self.left, stop=(*SENTENCE_ENDS, THINK_END))
        return Request(engine, self.ids, self.left, (*self.setting.cues, THINK_END))

    def feed(self, completion: Completion, wall_s: float) -> None:
        super().feed(completion, wall_s)
        if self.mode == "answer":
            self._take(completion.token_ids, None, wall_s)
            self.answer.finish_reason = completion.finish_reason
            return
        if completion.finish_reason == "length":
            self._take(completion.token_ids, None, wall_s)
            self._end_reasoning(missing_tag=True)
        elif completion.stop is None:
            # The model ended the text inside the reasoning: its end-of-text token is dropped.
            self._take(completion.token_ids[:-1], None, wall_s)
            self._end_reasoning(missing_tag=True)
        elif completion.stop == THINK_END:
            self._take(completion.token_ids, None, wall_s)
            self._end_reasoning(missing_tag=False)
        else:
            self._switch(completion, completion.stop, wall_s)

    def _switch(self, completion: Completion, stop: str, wall_s: float) -> None:
        """Hand over to S at a cue that counts, and to L at the end of a sentence."""
        if self.mode == "large" and not self._is_cue(completion, stop):
            self._take(completion.token_ids, None, wall_s)
            self.refused_tokens += len(completion.token_ids)
            self.last_char = self._last_char(completion.token_ids)
            self._stop_if_spent()
            return
        ids = self._up_to_stop(completion, stop)
        self._take(ids, stop if self.mode == "large" else None, wall_s)
        self.mode = "small" if self.mode == "large" else "large"
        self.refused_tokens = 0
        self.last_char = self._last_char(ids)
        self._stop_if_spent()

    def _is_cue(self, completion: Completion, stop: str) -> bool:
        """Return whether a match counts: not in a segment's first tokens, and not inside a word.

        The engine's own `min_tokens` would ignore </think> in the first tokens, too.
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
        """Keep `ids`: in the last segment if it was interrupted by a match that was not a cue."""
        stage: Literal["reasoning", "answer"] = "answer" if self.mode == "answer" else "reasoning"
        self.ids += ids
        self.left -= len(ids)
        self.answer.token_ids += ids
        if self.refused_tokens:
            last = self.answer.segments[-1]
            last.n_tokens += len(ids)
            last.wall_s += wall_s
            last.cue = cue
        else:
            model = model_of(self.engines[self.mode])
            self.answer.segments.append(Segment(model, stage, len(ids), cue, wall_s))

    def _stop_if_spent(self) -> None:
        if self.left <= 0:
            self._end_reasoning(missing_tag=True)

    def _end_reasoning(self, missing_tag: bool) -> None:
        """Begin the answer stage, behind a missing </think>, if the budget has room for both."""
        tag = self.setting.encode(f"\n{THINK_END}") if missing_tag else []
        if self.left <= len(tag):
            self.answer.finish_reason = "length"
            if missing_tag:
                return
        self.ids += tag
        self.left -= len(tag)
        self.answer.token_ids += tag
        self.answer.answer_start = len(self.answer.token_ids)
        self.mode = "answer"
        self.refused_tokens = 0
