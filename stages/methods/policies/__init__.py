"""Who writes when: the parts of a relay's policy, and their lines under `methods:`.

The defaults are the paper's relay: L starts, leaves at a cue, and S writes one sentence. All other
rules go by the probabilities that an engine returns with each token (docs/policies.md).
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from stages.config.block import Block
from stages.methods.base import Completion, Setting
from stages.methods.policies.leaving import AfterTokens, AtCue, AtProbe, AtSentence
from stages.methods.policies.returning import Early
from stages.methods.policies.staying import OneSentence, ToTheEnd, WhileSure
from stages.methods.policies.sureness import TOP_TWENTY, TOP_TWO, Margin

Leave = Annotated[AtCue | AtSentence | AfterTokens | AtProbe, Field(discriminator="at")]
# plan: the first tokens of L; probe: S is asked for a token; revision: L's answer in place of S's.
Mode = Literal["plan", "large", "probe", "small", "answer", "revision"]
Stay = Annotated[OneSentence | WhileSure | ToTheEnd, Field(discriminator="until")]


class Policy(Block):
    """What a relay's line says about who writes when.

    `starts`: who writes first. `plan`: so many first tokens are L's in any case. `leave`: when L
    leaves to S. `stay`: how long S stays. `early`: when S returns before that. `loop`: L takes over
    when S has written a sentence so many times. `answer_margin`: an answer stage of S with a less
    sure content token is dropped, and L writes it.
    """

    starts: Literal["large", "small"] = "large"
    plan: int | None = Field(None, ge=1)
    leave: Leave = AtCue()
    stay: Stay = OneSentence()
    early: Early | None = None
    loop: int | None = Field(None, ge=2)
    answer_margin: Margin | None = None

    @property
    def logprobs(self) -> int:
        """Return how many of the likeliest tokens are asked for with S's reasoning."""
        return TOP_TWO if self.early or isinstance(self.stay, WhileSure) else 0

    @property
    def by_sentences(self) -> bool:
        """Return whether S is to stop at the end of a sentence."""
        return not isinstance(self.stay, ToTheEnd) or bool(self.early or self.loop)

    @property
    def probabilities(self) -> int:
        """Return of how many likeliest tokens it needs the probabilities from S, at most."""
        if isinstance(self.leave, AtProbe):
            return TOP_TWENTY
        return TOP_TWO if self.logprobs or self.answer_margin else 0

    def stops(self, mode: Mode, setting: Setting) -> Sequence[str]:
        """Return the strings at which a model stops in the reasoning, besides its end."""
        if mode == "large":
            return self.leave.stops(setting)
        return setting.marks.sentence_ends if mode == "small" and self.by_sentences else ()

    def turn(self, mode: Mode) -> int | None:
        """Return after how many tokens L leaves; None if something else says when."""
        if mode == "plan":
            return self.plan
        return self.leave.n if isinstance(self.leave, AfterTokens) else None

    def kept(self, completion: Completion, setting: Setting) -> list[int] | None:
        """Return what is kept of S's tokens if it returns early; None if it does not."""
        return self.early.kept(completion, setting) if self.early else None

    def check(self, cues: str) -> None:
        """Raise ValueError for rules that make no sense together. `cues`: the line's own."""
        at_cues = isinstance(self.leave, AtCue)
        if not at_cues and cues != "none":
            raise ValueError(
                f"leave: at: {self.leave.at} goes with cues: none: no cue is looked for"
            )
        for_ever = isinstance(self.stay, ToTheEnd) and not (self.early or self.loop)
        if for_ever and self.starts == "small" and not self.plan:
            raise ValueError(
                "starts: small and stay: until: end need early, loop or plan: the large model "
                "would write nothing"
            )
        if for_ever and not at_cues and self.starts == "large":
            raise ValueError("stay: until: end needs early or loop: L would leave once for good")


PAPER = Policy()
