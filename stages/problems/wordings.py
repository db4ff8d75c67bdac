"""The words around a problem, by the pair's family, wording and scoring."""

from typing import get_args

from stages.config.families import Scoring
from stages.config.schema import AnySet, Pair
from stages.methods.base import PromptName


def wordings(pair: Pair, asked: AnySet) -> dict[str, str]:
    """Return {wording: template with {problem}} of a pair; a problem set's own, if it has one."""
    return {
        name: asked.prompt or template(pair, name, asked.scoring) for name in get_args(PromptName)
    }


def template(pair: Pair, name: PromptName, scoring: Scoring) -> str:
    r"""Return the words around a problem; as released, a math prompt's \b is a backspace."""
    words = pair.family.prompts[name][scoring]
    mangled = pair.as_released.prompt and scoring == "math"
    return words.replace(r"\b", "\b") if mangled else words
