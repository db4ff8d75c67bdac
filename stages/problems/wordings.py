"""The words around a problem, by family, wording and scoring (workflow/reference/prompts.yaml)."""

from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml

from stages.config.schema import Pair, Scoring
from stages.methods.base import PromptName

PROMPTS = Path("workflow/reference/prompts.yaml")


@cache
def reference() -> Any:
    """Return the file's content."""
    return yaml.safe_load(PROMPTS.read_text(encoding="utf-8"))


def wordings(pair: Pair, scoring: Scoring) -> dict[str, str]:
    """Return {wording: template with {problem}} of a pair."""
    return {name: template(pair, name, scoring) for name in get_args(PromptName)}


def template(pair: Pair, name: PromptName, scoring: Scoring) -> str:
    r"""Return the words around a problem; as released, a math prompt's \b is a backspace."""
    words: str = reference()[pair.family][name][scoring]
    mangled = pair.as_released.prompt and scoring == "math"
    return words.replace(r"\b", "\b") if mangled else words
