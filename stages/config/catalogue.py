"""The catalogue of benchmarks: what a pair needs not say of a problem set that it names."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CATALOGUE = Path("workflow/reference/benchmarks.yaml")


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """Return {name: what params.yaml would say of it}."""
    content: dict[str, dict[str, Any]] = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
    return content


def whole(given: object) -> object:
    """Return a pair's problem sets, completed from the catalogue where they give no source.

    `given`: a list of names, or a map of names to what differs. Raises ValueError for a set
    without a source that the catalogue does not have.
    """
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        given = dict.fromkeys(given)
    if not isinstance(given, dict):
        return given
    return {name: completed(name, one) for name, one in given.items()}


def completed(name: object, given: object) -> object:
    """Return what is known of one problem set; `columns` are taken over or given as a whole."""
    changes = {} if given is None else given
    if not isinstance(changes, Mapping) or "source" in changes:
        return given
    if name not in catalogue():
        raise ValueError(
            f"'{name}' has no source and is not in {CATALOGUE}, which has: {', '.join(catalogue())}"
        )
    return {**catalogue()[str(name)], **changes}
