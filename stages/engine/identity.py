"""Identify the version of a model: by its revision on the hub, or by its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stages.tracking import digests

if TYPE_CHECKING:
    from stages.config.schema import Model

WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth")


def of_model(served: Model) -> list[str]:
    """Return the identities of a model and its draft head.

    Each is a name on the hub with its revision, or the digest of a folder's contents.
    """
    return [named(*part) for part in served.parts]


def of_tokenizer(served: Model) -> list[str]:
    """Return the same without the weights: tokenizer, chat template and configuration."""
    return [named(*part, left_out=WEIGHTS) for part in served.parts]


def named(name: str, revision: str | None, left_out: tuple[str, ...] = ()) -> str:
    """Return the identity of a model or draft head; model cards (.md) are not part of it."""
    if revision:
        return f"{name} at {revision}"
    return digests.of_folder(Path(name), left_out=(*left_out, ".md"))
