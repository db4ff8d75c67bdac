"""One pair's rows of speed.csv, from the measured latencies (paper Table 3).

speedup = mean latency of the large model alone / mean latency of the method, over all runs; its SD
is the sample SD of the per-problem ratios. The bound is the speedup that the method's token shares
would give if hand-offs took no time, at the time per token of each engine alone in the same run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import polars as pl

from stages.analysis.bootstrap import Floats, ratio_interval
from stages.config.settings import Settings
from stages.methods.base import model_of
from stages.runtime.errors import UserError


class Bound(TypedDict):
    """The cost of hand-offs, and the speedup without it; None without hand-offs.

    A token of the answer takes `large_ms` + `small_ms` + `between_ms`: of each model, by the time
    that its tokens take alone, and of all else, which is hand-offs, routers and dropped tokens.
    """

    handoff_ms: float | None
    bound: float | None
    bound_percent: float | None
    large_ms: float | None
    small_ms: float | None
    between_ms: float | None


class SpeedRow(Bound):
    """The values of one method; percentages 0-100, intervals of 95 %, SDs over problems."""

    method: str
    speedup: float
    speedup_sd: float
    ci_low: float
    ci_high: float
    large_utilization: float
    large_utilization_sd: float
    tokens_per_s: float
    acceptance_length: float | None
    cached_percent: float
    other_load: float
    n_problems: int
    n_runs: int


def speedup(large: Floats, method: Floats) -> tuple[float, float]:
    """Return (speedup, SD) from seconds [problems, runs] of the large model and of the method."""
    ratios = large.mean(axis=1) / method.mean(axis=1)
    return float(large.mean() / method.mean()), float(np.std(ratios, ddof=1))


def by_run(answers: pl.DataFrame, column: str) -> Floats:
    """Return a column as [problems, runs]."""
    runs = answers.sort("repeat").group_by("problem_id").agg(column).sort("problem_id")
    return np.array(runs[column].to_list(), dtype=np.float64)


def per_token(latency: pl.DataFrame, roles: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return {engine: seconds per token} of the engines that a method of this run uses alone."""
    costs = {}
    for name, used in roles.items():
        if len(used) == 1:
            answers = latency.filter(method=name)
            n_tokens = by_run(answers, "large_tokens") + by_run(answers, "small_tokens")
            costs[used[0]] = float(by_run(answers, "wall_s").sum() / n_tokens.sum())
    return costs


def bound(
    answers: pl.DataFrame, large_s: float, roles: Sequence[str], costs: dict[str, float]
) -> Bound:
    """Return the cost of a method's hand-offs, and its speedup if they took no time.

    `large_s`: seconds of the large model alone for as many answers. `roles`: the method's engines.
    `costs`: see `per_token`; None values if an engine is not among them.
    """
    switches, wall_s = int(answers["n_switches"].sum()), float(answers["wall_s"].sum())
    if not switches or not set(roles) <= costs.keys():
        return {
            "handoff_ms": None, "bound": None, "bound_percent": None,
            "large_ms": None, "small_ms": None, "between_ms": None,
        }  # fmt: skip
    n_tokens = int(answers["large_tokens"].sum()) + int(answers["small_tokens"].sum())
    by_model = {
        model_of(role): float(answers[f"{model_of(role)}_tokens"].sum()) * costs[role]
        for role in roles
    }
    free_s = sum(by_model.values())
    return {
        "handoff_ms": 1000 * (wall_s - free_s) / switches,
        "bound": large_s / free_s,
        "bound_percent": 100 * free_s / wall_s,
        "large_ms": 1000 * by_model["large"] / n_tokens,
        "small_ms": 1000 * by_model["small"] / n_tokens,
        "between_ms": 1000 * (wall_s - free_s) / n_tokens,
    }


def acceptance_length(drafts: int, accepted: int) -> float | None:
    """Return the mean tokens per step of the large model: its own, and the drafted ones it accepts.

    None without drafts.
    """
    return 1 + accepted / drafts if drafts else None


def cached_percent(answers: pl.DataFrame) -> float:
    """Return the percentage of all prompt tokens that were in the engines' prefix caches."""
    return 100 * int(answers["cached_tokens"].sum()) / int(answers["prompt_tokens"].sum())


def speed_row(name: str, latency: pl.DataFrame, settings: Settings) -> SpeedRow:
    """Return the values of one method from the rows of latency.parquet."""
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
    """Raise UserError unless every method was timed in this run, with the same large model."""
    for name in methods:
        if name not in latency["method"]:
            raise UserError(f"{path} has no method '{name}': run the latency stage again")
