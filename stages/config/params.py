"""Read and check params.yaml: a mistake stops everything before the first job, in one line."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stages.config.block import Block
from stages.config.schema import Params
from stages.config.selection import skip_reason
from stages.runtime.errors import UserError

NEEDED_METHODS = {
    "large": "every speedup is against it",
    "relaygen": "the ablation compares its variants with it",
}


def load(path: Path) -> Params:
    """Read and check params.yaml; one line for all that is wrong with it."""
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run from the project's root") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(describe(dict(item)) for item in error.errors())
        raise UserError(f"{path}: {problems}") from error
    if problem := next(mismatches(params), None):
        raise UserError(f"{path}: {problem}")
    return params


def mismatches(params: Params) -> Iterator[str]:
    """Yield a line for each name that refers to another block and is not there."""
    for needed, reason in NEEDED_METHODS.items():
        if needed not in params.methods:
            yield f"methods.{needed} is missing: {reason}"
    if shared := set(params.methods) & set(params.ablation.methods):
        yield f"ablation.methods.{shared.pop()}: methods has this name too"
    roles = {role for pair in params.pairs.values() for role in pair.engines}
    for name, method in params.all_methods.items():
        for role in set(method.roles) - roles:
            have = ", ".join(sorted(roles))
            yield f"methods.{name}: no pair has an engine '{role}', known: {have}"
    for name in params.run:
        if name not in params.pairs:
            yield f"run: unknown pair '{name}', known: {', '.join(params.pairs)}"
        for needed in NEEDED_METHODS:
            if why := skip_reason(params, name, needed):
                yield f"methods.{needed}: {why}"


def describe(item: dict[str, Any]) -> str:
    """Return one pydantic error in plain words, with the key's path."""
    key = ".".join(str(part) for part in without_source(item["loc"]))
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(item["loc"][-1]), all_keys(), n=1)
        return f"{key}: unknown key" + (f", did you mean '{close[0]}'?" if close else "")
    message = str(item["msg"]).removeprefix("Value error, ")
    if not key:
        return message
    given = "" if item["type"] == "missing" else f" (given: {item['input']!r:.60})"
    return f"{key}: {message}{given}"


def without_source(path: Sequence[int | str]) -> Sequence[int | str]:
    """A key's path less what pydantic adds to it: a benchmark's source, behind its name."""
    match path:
        case ["pairs", _, "calibration" | "benchmarks", _, _, *below]:
            return [*path[:4], *below]
    return path


def all_keys(block: type[Block] = Block) -> set[str]:
    """Every key of the file, for suggestions."""
    below = (all_keys(kind) for kind in block.__subclasses__())
    return set(block.model_fields).union(*below)
