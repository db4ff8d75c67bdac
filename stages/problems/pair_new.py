"""A pair from two models: what params.yaml needs to say of them."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.config import families
from stages.config.catalogue import catalogue
from stages.config.params import described
from stages.config.schema import Pair
from stages.engine import hub
from stages.engine.models import INSTEAD
from stages.runtime.errors import UserError


def from_models(large: str | None, small: str | None, family: str | None, budget: int) -> Pair:
    """Return the pair of two models, with what is usual for the rest.

    Raises UserError if a model is not given, or a value is not valid.
    """
    if not large or not small:
        raise UserError("give a pair of params.yaml, or both --large and --small")
    given = {
        "family": family or families.USUAL,
        "engines": {"large": engine(large), "small": engine(small)},
        "budget": budget,
        "calibration": list(catalogue())[:1],
        "benchmarks": list(catalogue())[1:2],
    }
    try:
        return Pair.model_validate(given)
    except ValidationError as error:
        problems = described([dict(item) for item in error.errors()])
        raise UserError("; ".join(problems)) from error


def engine(model: str) -> dict[str, Any]:
    """Return what an engine serves: a folder, or a model on the hub at its newest commit."""
    if Path(model).exists() or model.startswith((".", "/", "~")) or model.count("/") != 1:
        return {"model": model}
    return {"model": model, "revision": hub.newest(model, INSTEAD)}
