"""How sure a model was of its tokens, by the probabilities that came with them."""

import re
from collections.abc import Sequence
from math import exp
from typing import Annotated, Literal

from pydantic import Field

from stages.methods.base import Completion, Setting

Margin = Annotated[float, Field(gt=0, le=1)]
Tokens = Literal["content", "all"]
# vLLM returns the token that was drawn, then the likeliest: with three there are two others.
TOP_TWO = 3
TOP_TWENTY = 20  # the most that vLLM returns by default


def margins(completion: Completion) -> list[float]:
    """Return p(top-1) - p(top-2) for each token, at temperature 1 (paper section 3.1)."""
    return [exp(first) - exp(second) for first, second, *_ in completion.likeliest]


def entropy(likeliest: Sequence[float]) -> float:
    """Return the entropy, in nats, of the tokens whose log probabilities these are."""
    return -sum(exp(one) * one for one in likeliest)


def margins_of(completion: Completion, which: Tokens, setting: Setting) -> list[float]:
    """Return the margins of the tokens that count."""
    found = margins(completion)
    return [found[place] for place in positions(completion.token_ids, which, setting)]


def positions(ids: Sequence[int], which: Tokens, setting: Setting) -> list[int]:
    """Return where the tokens are that count: all, or those that carry content (Marks.content).

    Content is what can be wrong, such as a number; a model may be unsure of wording without harm.
    """
    if which == "all":
        return list(range(len(ids)))
    content = re.compile(setting.marks.content)
    return [i for i, token in enumerate(ids) if content.search(setting.decode([token]))]
