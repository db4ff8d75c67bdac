"""Which stages a run would go through: those out of date or not there, and all that follow.

What is out of date is told by `stages.tracking.status`, what follows by dvc.yaml.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from stages.config.schema import Params
from stages.tracking import recipes, status
from stages.tracking.record import stage_of

DVC = Path("dvc.yaml")
ALWAYS = "recipes"  # a stage that runs every time, and takes a moment
NOT_THERE = "it is not there"


@dataclass(frozen=True)
class DvcStage:
    """A stage of dvc.yaml for one pair and method: what it reads and what it makes."""

    name: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]

    def reads(self, other: "DvcStage") -> bool:
        """Return whether it reads what another one makes, or what lies in it or around it."""
        return any(overlap(dep, out) for dep in self.deps for out in other.outs)


def overlap(one: str, other: str) -> bool:
    """Return whether two paths are the same, or one lies in the other."""
    first, second = Path(one), Path(other)
    return first.is_relative_to(second) or second.is_relative_to(first)


def stages(params: Params) -> list[DvcStage]:
    """Return the stages of dvc.yaml but the first, which writes the recipes."""
    written = yaml.safe_load(DVC.read_text(encoding="utf-8"))["stages"]
    return [
        one
        for name, stage in written.items()
        if name != ALWAYS
        for one in instances(name, stage, params)
    ]


def instances(name: str, stage: dict[str, Any], params: Params) -> Iterator[DvcStage]:
    """Yield a stage for each pair, or for each pair and method."""
    body = stage.get("do", stage)
    paths = {key: [path_of(one) for one in body.get(key, [])] for key in ("deps", "outs", "plots")}
    made = paths["outs"] + paths["plots"]
    for suffix, values in items(stage, params):
        deps, outs = (
            tuple(filled(path, values) for path in some) for some in (paths["deps"], made)
        )
        yield DvcStage(f"{name}{suffix}", deps, outs)


def items(stage: dict[str, Any], params: Params) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield what stands behind a stage's name for each item, and the values of its paths."""
    if "foreach" in stage:
        yield from ((f"@{pair}", {"item": pair}) for pair in params.run)
    elif "matrix" in stage:
        variants = "ablation" in stage["matrix"]["method"]
        methods = params.ablation.methods if variants else params.methods
        for pair, method in product(params.run, methods):
            yield f"@{pair}-{method}", {"item.pair": pair, "item.method": method}
    else:
        yield "", {}


def path_of(written: str | dict[str, Any]) -> str:
    """Return the path of a dependency or output, which may have settings."""
    return written if isinstance(written, str) else next(iter(written))


def filled(path: str, values: Mapping[str, str]) -> str:
    """Return a path with an item's values."""
    for name, value in values.items():
        path = path.replace(f"${{{name}}}", value)
    return path


Due = Mapping[str, list[str]]


def due(params: Params) -> Due:
    """Return {stage of dvc.yaml that a run would go through: why}.

    Those that only follow another have no reason of their own.
    """
    known = stages(params)
    found = outdated(params, known)
    for one in known:
        if not all(Path(out).exists() for out in one.outs):
            found.setdefault(one.name, []).append(NOT_THERE)
    while more := [one.name for one in known if one.name not in found and after(one, known, found)]:
        found |= {name: [] for name in more}
    return found


def outdated(params: Params, known: list[DvcStage]) -> dict[str, list[str]]:
    """Return {stage of dvc.yaml: why a result of it on disk is out of date}."""
    reasons: dict[str, list[str]] = {}
    for result in status.compared(recipes.today(params)):
        if not result.why:
            continue
        names = (
            [stage_of(result.target, params)]
            if result.target
            else [one.name for one in known if any(overlap(str(result.path), o) for o in one.outs)]
        )
        for name in names:
            reasons.setdefault(name, []).extend(result.why)
    return reasons


def after(stage: DvcStage, known: list[DvcStage], found: Collection[str]) -> bool:
    """Return whether a stage reads what one of those found makes."""
    return any(stage.reads(other) for other in known if other.name in found)
