"""Control tokens that a problem spells out: `<|im_end|>` in a question is text, ends nothing."""

import json
import re
from collections.abc import Callable

from tokenizers import Tokenizer

# Stands for the n-th name while a chat is rendered: characters that no text uses.
MASK = re.compile("\U0010fffc([0-9]+)\U0010fffd")
Ids = list[int]


def control_texts(tokenizer: Tokenizer, *tags: str) -> list[str]:
    """Return what a tokenizer reads as control tokens, the longest first; `tags` are among them."""
    added = tokenizer.get_added_tokens_decoder().values()
    found = {token.content for token in added if token.special or token.content in tags}
    return sorted(found, key=len, reverse=True)


def as_text(prompt: str, names: list[str], tokenizer: Tokenizer, chat: Callable[[str], str]) -> Ids:
    """Return the ids of a prompt's chat, in which `names` are text where the prompt has them.

    `chat` renders a prompt: the control tokens of its own markup stay what they are.
    """
    return encoded(chat(masked(prompt, names)), names, tokenizer, without(tokenizer, names))


def encoded(text: str, names: list[str], tokenizer: Tokenizer, spelled: Tokenizer) -> Ids:
    """Return the ids of a text in which marks stand for `names`; `spelled`: reads these as text."""
    ids: Ids = []
    for i, part in enumerate(MASK.split(text)):
        text, reader = (names[int(part)], spelled) if i % 2 else (part, tokenizer)
        ids += reader.encode(text, add_special_tokens=False).ids
    return ids


def masked(prompt: str, names: list[str]) -> str:
    """Return a prompt with a mark in place of each of `names`."""
    pattern = re.compile("|".join(map(re.escape, names)))
    return pattern.sub(lambda found: f"\U0010fffc{names.index(found[0])}\U0010fffd", prompt)


def without(tokenizer: Tokenizer, names: list[str]) -> Tokenizer:
    """Return a tokenizer that reads `names` as any other text."""
    content = json.loads(tokenizer.to_str())
    kept = [token for token in content["added_tokens"] if token["content"] not in names]
    return Tokenizer.from_str(json.dumps(content | {"added_tokens": kept}))
