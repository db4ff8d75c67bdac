"""Make a router's file of one that R2R's authors have published: a pickle. No code of it is run."""

import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from stages.engine.router_file import THRESHOLD, sizes_of
from stages.runtime.errors import UserError

ARCHITECTURE = "HiddenStatesTokenLMHeadLogitsClassifier"
EMBEDDINGS = "token_embeddings.weight"  # S's, which its engine has
ANOTHER = ("normalize_input", "use_position_embedding")  # switches that change the architecture


def convert(file: Path, out: Path) -> None:
    """Write the router in `file`, as its authors save it, to the safetensors file `out`.

    Raises UserError if there is anything else in it than numbers and texts, or another router.
    """
    content = unpickled(file)
    try:
        weights, threshold = router_in(content)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: not a router of R2R ({error})") from error
    metadata = {
        THRESHOLD: repr(threshold),
        "architecture": ARCHITECTURE,
        "small": str(content["init_args"].get("pretrained_model_name", "not noted")),
        "converted_from": file.name,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, out, metadata)


def unpickled(file: Path) -> dict[str, Any]:
    """Return what a pickle of PyTorch holds; UserError if it could run code, or is none."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such file") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{file}: refused: a pickle with more in it than weights and settings, which could "
            "run code"
        ) from error
    except Exception as error:  # of a broken file PyTorch raises many types
        said = " ".join(str(error).split())
        raise UserError(f"{file}: not a file of PyTorch ({said:.200})") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: not a router of R2R (no table of settings and weights)")
    return content


def router_in(content: Mapping[str, Any]) -> tuple[dict[str, Tensor], float]:
    """Return the weights and the threshold of a published router.

    Raises KeyError, TypeError or ValueError if it is another one.
    """
    if content["model_type"] != ARCHITECTURE:
        raise ValueError(f"its architecture is {content['model_type']}, not {ARCHITECTURE}")
    if on := [name for name in ANOTHER if content["init_args"].get(name)]:
        raise ValueError(f"{on[0]} is on: such a router is another architecture")
    given = dict(content["state_dict"])
    if EMBEDDINGS in given and not content["init_args"].get("freeze_lm_head"):
        raise ValueError("its embeddings were trained, and an engine has the small model's own")
    weights = {
        name: weight.float().contiguous() for name, weight in given.items() if name != EMBEDDINGS
    }
    sizes_of({name: list(weight.shape) for name, weight in weights.items()})
    threshold = float(content["common_args"]["threshold"])
    if not (math.isfinite(threshold) and 0 <= threshold <= 1):
        raise ValueError(f"its threshold is {threshold}, not between 0 and 1")
    return weights, threshold
