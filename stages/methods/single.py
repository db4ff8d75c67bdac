"""One model from the first token to the last."""

from typing import Literal

from stages.methods import base
from stages.methods.base import (
    Completion,
    Request,
    Setting,
    add_segments,
    model_of,
    reasoning_end,
)


class Method(base.Method):
    """A line with `kind: single`: `engine` writes the whole answer."""

    kind: Literal["single"]
    cues: Literal["none"]
    engine: str

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.engine,)

    def start(self, setting: Setting) -> "SingleModel":
        return SingleModel(setting, self.engine)


class SingleModel(base.Machine):
    """One request for the whole budget."""

    def __init__(self, setting: Setting, engine: str) -> None:
        super().__init__(setting)
        self.engine = engine

    def next_request(self) -> Request | None:
        if self.answer.finish_reason:
            return None
        return Request(self.engine, self.setting.prompt_ids, self.setting.budget)

    def feed(self, completion: Completion, wall_s: float) -> None:
        super().feed(completion, wall_s)
        ids = completion.token_ids
        answer_start = 0 if self.setting.reasoned else reasoning_end(ids, self.setting)
        reasoning = len(ids) if answer_start is None else answer_start
        self.answer.token_ids = ids
        self.answer.answer_start = answer_start
        self.answer.finish_reason = completion.finish_reason
        add_segments(self.answer, model_of(self.engine), reasoning, len(ids), wall_s)
