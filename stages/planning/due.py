"""Which stages a run would go through: those out of date or not there, and all that follow.

What is out of date is told by `stages.tracking.status`, what follows by the inputs that are noted
with results, what there has to be by dvc.yaml.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from stages.config.schema import Params
from stages.tracking import recipes, status
from stages.tracking.record import shared, stage_of
from stages.tracking.status import Result
from stages.tracking.targets import Target

DVC = Path("dvc.yaml")
ALWAYS = "recipes"  # a stage that runs every time, and takes a moment
NOT_THERE = "it is not there"


Due = Mapping[str, list[str]]


def due(params: Params) -> Due:
    """Return {stage of dvc.yaml that a run would go through: why}.

    Those that only follow another have no reason of their own.
    """
    known, listed = list(status.compared(recipes.today(params))), outputs(params)
    found = {name: [NOT_THERE] for name, outs in listed.items() if missing(outs)}
    for result in known:
        if result.why:
            found.setdefault(stage_of_result(result, params), []).extend(result.why)
    for target in following(known):
        found.setdefault(stage_of(target, params), [])
    for name, looking in shared(params).items():
        if not looking.isdisjoint(found):
            found.setdefault(name, [])
    return {name: found[name] for name in [*listed, *found] if name in found}


def missing(outs: Iterable[str]) -> bool:
    """Return whether an output of a stage is not there."""
    return not all(Path(out).exists() for out in outs)


def stage_of_result(result: Result, params: Params) -> str:
    """Return the stage that makes a result; one that was changed by hand is known by its path."""
    if result.target:
        return stage_of(result.target, params)
    makers = (
        name
        for name, outs in outputs(params).items()
        if any(result.path.is_relative_to(out) for out in outs)
    )
    return next(makers, str(result.path))


def following(known: Sequence[Result]) -> set[Target]:
    """Return what is made of results that are made again, directly or through others."""
    again = {result.target for result in known if result.why and result.target}
    paths = {str(result.path) for result in known if result.why}
    found: set[Target] = set()
    while True:
        paths |= {str(result.path) for result in known if result.target in again | found}
        more = {
            result.target
            for result in known
            if result.target and result.target not in found and not paths.isdisjoint(result.inputs)
        }
        if not more:
            return found
        found |= more


def outputs(params: Params) -> dict[str, list[str]]:
    """Return {stage of dvc.yaml: its outputs}, but for the first, which writes the recipes."""
    written = yaml.safe_load(DVC.read_text(encoding="utf-8"))["stages"]
    return {
        f"{name}{suffix}": [filled(path, values) for path in made(stage.get("do", stage))]
        for name, stage in written.items()
        if name != ALWAYS
        for suffix, values in items(stage, params)
    }


def made(stage: dict[str, Any]) -> list[str]:
    """Return the outputs of a stage, its plots included."""
    return [*stage.get("outs", []), *stage.get("plots", [])]


def items(stage: dict[str, Any], params: Params) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield what stands behind a stage's name for each item, and the values of its paths."""
    if "foreach" in stage:
        pairs = params.throughput.run if "throughput" in stage["foreach"] else params.run
        yield from ((f"@{pair}", {"item": pair}) for pair in pairs)
    elif "matrix" in stage:
        variants = "ablation" in stage["matrix"]["method"]
        methods = params.ablation.methods if variants else params.methods
        for pair, method in product(params.run, methods):
            yield f"@{pair}-{method}", {"item.pair": pair, "item.method": method}
    else:
        yield "", {}


def filled(path: str, values: Mapping[str, str]) -> str:
    """Return a path with an item's values."""
    for name, value in values.items():
        path = path.replace(f"${{{name}}}", value)
    return path
