"""How long the small model stays; asked at the end of each of its sentences."""

from statistics import fmean
from typing import Literal

from stages.config.block import Block
from stages.methods.base import Completion, Setting
from stages.methods.policies.sureness import Margin, Tokens, margins_of


class OneSentence(Block):
    """To the end of one sentence, as the paper has it."""

    until: Literal["sentence"] = "sentence"

    def goes_on(self, sentence: Completion, setting: Setting) -> bool:
        """Return whether S writes the next sentence too."""
        return False


class WhileSure(Block):
    """Until a sentence whose lowest or mean margin is below `margin`."""

    until: Literal["unsure"]
    margin: Margin
    of: Literal["lowest", "mean"] = "lowest"
    tokens: Tokens = "content"

    def goes_on(self, sentence: Completion, setting: Setting) -> bool:
        """Return whether S writes the next sentence too; it is sure of one without such tokens."""
        margins = margins_of(sentence, self.tokens, setting)
        summary = fmean if self.of == "mean" else min
        return not margins or summary(margins) >= self.margin


class ToTheEnd(Block):
    """To the end of the reasoning, unless it returns early."""

    until: Literal["end"]

    def goes_on(self, sentence: Completion, setting: Setting) -> bool:
        """Return whether S writes the next sentence too."""
        return True
