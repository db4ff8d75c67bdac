"""What a router's file says of itself, read without PyTorch.

It is a safetensors file: the weights of R2R's `HiddenStatesTokenLMHeadLogitsClassifier` (arXiv
2505.21600) under its authors' names, without the embeddings, which are S's; the threshold is in the
metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.runtime.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

THRESHOLD = "threshold"
Shapes = dict[str, "Sequence[int]"]


@dataclass(frozen=True)
class Sizes:
    """The sizes of a router.

    `hidden`: S's width, and that of its embeddings. `logits`: how many of S's highest logits it
    reads. `dims`: the width of each block. `expansion`: a block's inner width by its width.
    """

    hidden: int
    logits: int
    dims: tuple[int, ...]
    expansion: int

    def shapes(self) -> Shapes:
        """Return {name: shape} of its weights."""
        first, last = self.dims[0], self.dims[-1]
        found: Shapes = {
            **linear("logits_projection", self.logits, self.hidden),
            **linear("combined_projection", 3 * self.hidden, first),
            **linear("backbone.input_projection", first, first),
            **norm("backbone.output_layer.0", last),
            **linear("backbone.output_layer.1", last, 1),
        }
        for i, (width, after) in enumerate(zip(self.dims, (*self.dims[1:], last), strict=True)):
            found |= block(f"backbone.blocks.{i}", width, after, self.expansion)
        return found


def linear(name: str, inputs: int, outputs: int) -> Shapes:
    """Return the weights of a linear layer."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> Shapes:
    """Return the weights of a layer norm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def block(name: str, width: int, after: int, expansion: int) -> Shapes:
    """Return the weights of a block from one width to the next."""
    changed = linear(f"{name}.dim_change", width, after) if width != after else {}
    return {
        **norm(f"{name}.layer_norm", width),
        **linear(f"{name}.mlp.0", width, width * expansion),
        **linear(f"{name}.mlp.3", width * expansion, after),
        **changed,
    }


def sizes_of(shapes: Mapping[str, Sequence[int]]) -> Sizes:
    """Return a router's sizes by its weights; ValueError if they are no router's."""
    try:
        hidden, logits = shapes["logits_projection.weight"]
        n = sum(name.endswith("layer_norm.weight") for name in shapes)
        inner = [shapes[f"backbone.blocks.{i}.mlp.0.weight"] for i in range(n)]
        sizes = Sizes(hidden, logits, tuple(one[1] for one in inner), inner[0][0] // inner[0][1])
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError("no router of R2R's architecture") from error
    needed = {name: tuple(shape) for name, shape in sizes.shapes().items()}
    for name in sorted(needed.keys() | shapes.keys()):
        given = tuple(shapes[name]) if name in shapes else "missing"
        wanted = needed.get(name, "none of this name")
        if given != wanted:
            raise ValueError(f"{name} is {given}, a router has {wanted}")
    return sizes


def read(file: Path) -> tuple[Sizes, float]:
    """Return a router's sizes and threshold; UserError if the file is none."""
    from safetensors import SafetensorError, safe_open  # only where there is a router

    try:
        with safe_open(file, framework="numpy") as weights:
            metadata = weights.metadata() or {}
            shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
        return sizes_of(shapes), float(metadata[THRESHOLD])
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such file; `relaygen router` makes one") from error
    except KeyError as error:
        raise UserError(f"{file}: its metadata have no {THRESHOLD}") from error
    except (OSError, SafetensorError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{file}: not a router ({said}); `relaygen router` makes one") from error


def check(file: Path, config: Mapping[str, Any]) -> None:
    """Raise UserError unless the router fits a small model, whose config.json is `config`."""
    sizes, _ = read(file)
    if sizes.hidden != config["hidden_size"]:
        raise UserError(
            f"{file}: it is made for a model of width {sizes.hidden}, and the small model's is "
            f"{config['hidden_size']}"
        )
    if sizes.logits > config["vocab_size"]:
        raise UserError(
            f"{file}: it reads {sizes.logits} logits, and the small model has "
            f"{config['vocab_size']}"
        )
