"""When the large model leaves to the small one."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from stages.config.block import Block
from stages.methods.base import Completion, Setting
from stages.methods.policies.sureness import entropy


class AtCue(Block):
    """At a cue that counts, as the paper has it."""

    at: Literal["cue"] = "cue"

    def stops(self, setting: Setting) -> Sequence[str]:
        """Return the strings at which L stops, besides the end of the reasoning."""
        return setting.cues


class AtSentence(Block):
    """At the end of its sentence."""

    at: Literal["sentence"]

    def stops(self, setting: Setting) -> Sequence[str]:
        """Return the strings at which L stops, besides the end of the reasoning."""
        return setting.marks.sentence_ends


class AfterTokens(Block):
    """After `n` tokens."""

    at: Literal["token"]
    n: int = Field(1, ge=1)

    def stops(self, setting: Setting) -> Sequence[str]:
        """Return the strings at which L stops, besides the end of the reasoning."""
        return ()


class AtProbe(Block):
    """At the end of its sentence, if S is sure of the first token of the next one.

    S is asked for this token alone, which is dropped. It is sure if the entropy of its 20 likeliest
    tokens, in nats, is below `entropy` (GlimpRouter, arXiv 2601.05110, which asks at blank lines).
    """

    at: Literal["probe"]
    entropy: float = Field(gt=0)

    def stops(self, setting: Setting) -> Sequence[str]:
        """Return the strings at which L stops, besides the end of the reasoning."""
        return setting.marks.sentence_ends

    def leaves(self, probed: Completion) -> bool:
        """Return whether S writes the next sentence."""
        return entropy(probed.likeliest[0]) < self.entropy
