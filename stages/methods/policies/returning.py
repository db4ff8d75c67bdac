"""When the small model returns before the end of its sentence."""

from collections.abc import Callable, Sequence

from stages.config.block import Block
from stages.methods.base import HALF, Completion, Setting
from stages.methods.policies.sureness import Margin, Tokens, margins, positions


class Early(Block):
    """Before the first token whose margin is below `margin`; that token and the rest are dropped.

    `tokens`: content: only tokens with content count (the family's `content`); all: every token.
    """

    margin: Margin
    tokens: Tokens = "content"

    def kept(self, completion: Completion, setting: Setting) -> list[int] | None:
        """Return the tokens before the first unsure one; None if S was sure of all that count."""
        places, sure = positions(completion.token_ids, self.tokens, setting), margins(completion)
        n = next((place for place in places if sure[place] < self.margin), None)
        if n is None:
            return None
        return whole(completion.token_ids[:n], setting.marks.think_end, setting.decode)


def whole(ids: Sequence[int], tag: str, decode: Callable[[Sequence[int]], str]) -> list[int]:
    """Return the ids without those of half a character, or of a part of `tag`, at their end.

    A tag that two models write between them would not be found as a stop string, and vLLM takes
    the text of the whole prompt for what was written behind half a character.
    """
    reach = len(tag.encode())  # a token has a byte or more
    n = len(ids)
    while n and unfinished(decode(ids[max(0, n - reach) : n]), tag):
        n -= 1
    return list(ids[:n])


def unfinished(text: str, tag: str) -> bool:
    """Return whether a text ends inside a character or inside `tag`."""
    return text.endswith((HALF, *(tag[:n] for n in range(1, len(tag)))))
