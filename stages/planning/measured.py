"""What is measured of a pair: by an earlier run, or by `relaygen pair check --probe`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stages.analysis import probed
from stages.config.schema import Params
from stages.engine.spec import specs
from stages.tracking.frames import ACCURACY, SPEEDS, read_csv


@dataclass(frozen=True)
class Measured:
    """`tokens`: {(method, benchmark): of an answer}; `ms_per_token`: {method: alone}.

    `slowdown`: added time per further answer in flight; None: not measured. `sources`: files.
    """

    tokens: Mapping[tuple[str, str], float] = field(default_factory=dict)
    ms_per_token: Mapping[str, float] = field(default_factory=dict)
    slowdown: float | None = None
    sources: tuple[str, ...] = ()


def measured(results: Path, params: Params, name: str) -> Measured:
    """Return what is known of a pair, an earlier run's speeds before those of a probe."""
    found = by_a_run(results / "summaries" / name)
    path = probed.path_of(results, name)
    if not path.is_file():
        return found
    probe, today = probed.read(path), shapes(params, name)
    same = {role for role, shape in probe.engines.items() if today.get(role) == shape}
    if not same:
        return found
    speeds = {role: 1000 / probe.tokens_per_s[role] for role in probe.engines if role in same}
    return replace(
        found,
        ms_per_token={**speeds, **found.ms_per_token},
        slowdown=probe.slowdown if "large" in same else None,
        sources=(*found.sources, str(path)),
    )


def shapes(params: Params, name: str) -> dict[str, dict[str, Any]]:
    """Return {role: what can change what an engine writes} of a pair, as JSON has it."""
    pair = params.pair(name)
    wanted = specs(pair, params.engines, tuple(pair.engines), concurrency=1)
    found: dict[str, dict[str, Any]] = json.loads(
        json.dumps({spec.role: spec.shape() for spec in wanted})
    )
    return found


def by_a_run(summaries: Path) -> Measured:
    """Return what a pair's summaries say, as far as they are there."""
    accuracy, speed = summaries / "accuracy.csv", summaries / "speed.csv"
    tokens = read_csv(accuracy, ACCURACY) if accuracy.is_file() else None
    speeds = read_csv(speed, SPEEDS) if speed.is_file() else None
    return Measured(
        {}
        if tokens is None
        else {
            (method, benchmark): n
            for method, benchmark, n in tokens.select("method", "benchmark", "mean_tokens").rows()
        },
        {}
        if speeds is None
        else {
            method: 1000 / per_s for method, per_s in speeds.select("method", "tokens_per_s").rows()
        },
        sources=tuple(str(file.parent) for file in (speed,) if file.is_file()),
    )
