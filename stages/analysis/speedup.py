"""One pair's rows of speed.csv, from the measured latencies (paper Table 3).

speedup = mean latency of the large model alone / mean latency of the method, over all runs; its SD
is the sample SD of the per-problem ratios. The bound is the speedup that the method's token shares
would give if hand-offs were free, at the time per token of each engine alone in the same run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stages.analysis.bootstrap import Floats, ratio_interval
from stages.config.settings import Settings
from stages.methods.base import model_of
from stages.runtime.errors import UserError


def speedup(large: Floats, method: Floats) -> tuple[float, float]:
    """(speedup, SD) from seconds [problems, runs] of the large model and of the method."""
    ratios = large.mean(axis=1) / method.mean(axis=1)
    return float(large.mean() / method.mean()), float(np.std(ratios, ddof=1))


def by_run(answers: pl.DataFrame, column: str) -> Floats:
    """A column as [problems, runs]."""
    runs = answers.sort("repeat").group_by("problem_id").agg(column).sort("problem_id")
    return np.array(runs[column].to_list(), dtype=np.float64)


def per_token(latency: pl.DataFrame, roles: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return {engine: seconds per token} of every engine that a method of this run uses alone."""
    costs = {}
    for name, used in roles.items():
        if len(used) == 1:
            answers = latency.filter(method=name)
            n_tokens = by_run(answers, "large_tokens") + by_run(answers, "small_tokens")
            costs[used[0]] = float(by_run(answers, "wall_s").sum() / n_tokens.sum())
    return costs


def bound(
    answers: pl.DataFrame, large_s: float, roles: Sequence[str], costs: dict[str, float]
) -> dict[str, float | None]:
    """What hand-offs cost, and the speedup without that; empty where there are none.

    `large_s`: seconds that the large model alone took for as many answers.
    """
    switches, wall_s = int(answers["n_switches"].sum()), float(answers["wall_s"].sum())
    if not switches or not set(roles) <= costs.keys():
        return {"handoff_ms": None, "bound": None, "bound_percent": None}
    free_s = sum(float(answers[f"{model_of(role)}_tokens"].sum()) * costs[role] for role in roles)
    return {
        "handoff_ms": 1000 * (wall_s - free_s) / switches,
        "bound": large_s / free_s,
        "bound_percent": 100 * free_s / wall_s,
    }


def acceptance_length(drafts: int, accepted: int) -> float | None:
    """Mean tokens per step of the large model: its own one, and what it accepted of the draft."""
    return 1 + accepted / drafts if drafts else None


def cached_percent(answers: pl.DataFrame) -> float:
    """How much of all prompts the engines had in their prefix caches."""
    return 100 * int(answers["cached_tokens"].sum()) / int(answers["prompt_tokens"].sum())


def row(name: str, latency: pl.DataFrame, settings: Settings) -> dict[str, Any]:
    """Return one method's row; percentages 0-100."""
    answers, large = latency.filter(method=name), latency.filter(method="large")
    large_s, method_s = by_run(large, "wall_s"), by_run(answers, "wall_s")
    value, sd = speedup(large_s, method_s)
    low, high = ratio_interval(large_s, method_s, settings.bootstrap, settings.seed)
    by_large = by_run(answers, "large_tokens").sum(axis=1)
    by_all = by_large + by_run(answers, "small_tokens").sum(axis=1)
    costs = per_token(latency, settings.roles)
    return {
        "method": name,
        "speedup": value,
        "speedup_sd": sd,
        "ci_low": low,
        "ci_high": high,
        "large_utilization": float(100 * by_large.sum() / by_all.sum()),
        "large_utilization_sd": float(np.std(100 * by_large / by_all, ddof=1)),
        "tokens_per_s": float(by_all.sum() / method_s.sum()),
        "acceptance_length": acceptance_length(
            int(answers["drafts"].sum()), int(answers["accepted"].sum())
        ),
        **bound(answers, float(large_s.sum()), settings.roles[name], costs),
        "cached_percent": cached_percent(answers),
        "other_load": float(answers["other_load"].to_numpy().mean()),  # cores
        "n_problems": len(by_all),
        "n_runs": method_s.shape[1],
    }


def check_methods(latency: pl.DataFrame, methods: Sequence[str], path: Path) -> None:
    """Every method was timed: a speedup against another run's large model would say nothing."""
    for name in methods:
        if name not in latency["method"]:
            raise UserError(f"{path} has no method '{name}': run the latency stage again")
