"""Identify the version of a model: by its revision on the hub, or by its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stages.tracking import digests

if TYPE_CHECKING:
    from collections.abc import Callable

    from stages.config.schema import Model

# What of a folder makes token ids of a chat.
TOKENIZER = ("tokenizer", "chat_template", "special_tokens", "added_tokens", "vocab", "merges")
CARDS = (".md",)
WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth")


def of_model(served: Model) -> list[str]:
    """Return the identities of a model and its drafter.

    Each is a name on the hub with its revision, or the digest of a folder's files; model cards do
    not count.
    """
    return [named(*part, lambda name: not name.endswith(CARDS)) for part in served.parts]


def of_tokenizer(served: Model) -> list[str]:
    """Return the same of the files that make token ids of a chat."""
    return [named(*part, lambda name: name.startswith(TOKENIZER)) for part in served.parts]


def without_weights(served: Model) -> list[str]:
    """Return the same of all files but the weights."""
    left_out = (*CARDS, *WEIGHTS)
    return [named(*part, lambda name: not name.endswith(left_out)) for part in served.parts]


def named(name: str, revision: str | None, counts: Callable[[str], bool]) -> str:
    """Return the identity of a model or drafter. `counts`: see `digests.of_folder`."""
    if revision:
        return f"{name} at {revision}"
    return digests.of_folder(Path(name), counts)
