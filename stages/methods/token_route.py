"""R2R (arXiv 2505.21600): S writes, and a router gives single tokens to L.

For each token that S has sampled, a router in S's engine decides whether it is kept. Where it is
not, L's token takes its place, and S goes on behind it: from the prompt to the end of the answer.
"""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from stages.methods import base
from stages.methods.base import (
    ENTROPY,
    Completion,
    Request,
    Route,
    Segment,
    Setting,
    add_segments,
    extend,
    model_of,
)


class Method(base.Method):
    """A line with `kind: token_route`.

    `router`: a file (`relaygen router`), `pair` for the file that the pair names, or `entropy` for
    S's entropy in place of a router.
    `threshold`: the router's output, or the entropy in nats, from which on a token is L's; None for
    the file's own, and for 0.45 nats, which the authors take for the entropy.
    """

    kind: Literal["token_route"]
    cues: Literal["none"]
    large: str
    small: str
    router: str = Field(min_length=1)
    threshold: float | None = Field(None, ge=0)

    @field_validator("threshold")
    @classmethod
    def in_range(cls, threshold: float | None, info: ValidationInfo) -> float | None:
        """A router's output is a probability."""
        if info.data.get("router") != ENTROPY and threshold is not None and threshold > 1:
            raise ValueError(f"{threshold}, and a router's output is between 0 and 1")
        return threshold

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.large, self.small)

    @property
    def routers(self) -> dict[str, str]:
        return {self.small: self.router}

    def start(self, setting: Setting) -> "TokenRoute":
        return TokenRoute(setting, self)


class TokenRoute(base.Machine):
    """The state of an answer: the tokens so far, and whether the next one is L's."""

    def __init__(self, setting: Setting, method: Method) -> None:
        super().__init__(setting)
        self.method = method
        # A chat's first token opens it, and stands nowhere else.
        self.route = Route(method.router, method.threshold, setting.prompt_ids[0])
        self.routed = False
        self.waited_s = 0.0  # for S, where it kept none of its tokens

    @property
    def engine(self) -> str:
        """Return which engine writes next."""
        return self.method.large if self.routed else self.method.small

    def next_request(self) -> Request | None:
        if self.answer.finish_reason:
            return None
        ids = [*self.setting.prompt_ids, *self.answer.token_ids]
        if self.routed:
            return Request(self.engine, ids, 1)
        left = self.setting.budget - len(self.answer.token_ids)
        return Request(self.engine, ids, left, route=self.route)

    def feed(self, completion: Completion, wall_s: float) -> None:
        super().feed(completion, wall_s)
        self.waited_s += wall_s
        if completion.token_ids:
            self._take(completion.token_ids)
        if completion.finish_reason == "stop" and not completion.routed:
            self.answer.finish_reason = "stop"
        elif len(self.answer.token_ids) >= self.setting.budget:
            self.answer.finish_reason = "length"
        self.routed = completion.routed

    def _take(self, ids: list[int]) -> None:
        """Keep tokens, as a segment of the reasoning, of the answer, or as one of each."""
        n_reasoning = extend(self.answer, ids, self.setting)
        n_segments, wall_s = len(self.answer.segments), self.waited_s
        self.waited_s = 0.0
        add_segments(self.answer, model_of(self.engine), n_reasoning, len(ids), wall_s)
        join(self.answer.segments, n_segments)


def join(segments: list[Segment], at: int) -> None:
    """Make one of the segments before and at position `at` if one model wrote both in one stage."""
    if not 0 < at < len(segments):
        return
    last, new = segments[at - 1], segments[at]
    if (last.model, last.stage) == (new.model, new.stage):
        last.n_tokens += new.n_tokens
        last.wall_s += new.wall_s
        del segments[at]
