"""What tells one version of a model from another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stages.tracking import digests

if TYPE_CHECKING:
    from stages.config.schema import Model

WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth")


def of_model(served: Model) -> list[str]:
    """Return what tells one version of a model and its draft head from another.

    A name on the hub with its revision, or the digest of a folder's contents.
    """
    return [named(*part) for part in served.parts]


def of_tokenizer(served: Model) -> list[str]:
    """Return the same without the weights: tokenizer, chat template and configuration."""
    return [named(*part, left_out=WEIGHTS) for part in served.parts]


def named(name: str, revision: str | None, left_out: tuple[str, ...] = ()) -> str:
    """Return one part's identity. The text of a model card counts nowhere."""
    if revision:
        return f"{name} at {revision}"
    return digests.of_folder(Path(name), left_out=(*left_out, ".md"))
