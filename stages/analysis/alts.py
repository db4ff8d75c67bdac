"""Descriptions of the figures for those who do not see them: what is drawn, with its values."""

from collections.abc import Callable, Iterable, Mapping

import polars as pl

from stages.analysis.display import shown

Tables = Mapping[str, pl.DataFrame]
DRAWN = {
    "margins": "Line: the small model's margin at each token of a trace, segments of cues shaded.",
    "cues": "Points with intervals: the effect of each candidate, largest first.",
    "throughput": "Curves, one per method: answers a minute against the median time of an answer.",
    "acceptance": "Curves, one per method that drafts: tokens per step along the answer.",
    "timeline": "Bars along seconds: which model wrote when in one answer.",
}


def alt(name: str, tables: Tables) -> str:
    """Return the description of a figure. `tables`: one pair's, by name."""
    return VALUES[name](tables) if name in VALUES else DRAWN[name]


def of_accuracy(tables: Tables) -> str:
    """Return each bar's height."""
    rows = tables["accuracy"].filter(pl.col("pass_at_1").is_not_null())
    said = rows.select("method", "benchmark", "pass_at_1").iter_rows()
    return "Bars of Pass@1: " + listed(f"{shown(m)} on {shown(b)} {v:.0f} %" for m, b, v in said)


def of_tokens(tables: Tables) -> str:
    """Return the large model's shares."""
    rows = tables["accuracy"].filter(pl.col("large_utilization").is_between(0, 100, closed="none"))
    said = rows.select("method", "benchmark", "large_utilization").iter_rows()
    return "Bars of the large model's share of tokens: " + listed(
        f"{shown(m)} on {shown(b)} {v:.0f} %" for m, b, v in said
    )


def of_speed(tables: Tables) -> str:
    """Return each bar's length, with its interval."""
    return f"Bars of speedups: {speedups(tables['speed'])}"


def of_pareto(tables: Tables) -> str:
    """Return where the points are from left to right; the other values are those of the bars."""
    return f"Points of speedup against Pass@1. Speedups: {speedups(tables['speed'])}"


def speedups(speed: pl.DataFrame) -> str:
    """Return each method's speedup and interval, the slowest first."""
    rows = speed.filter(pl.col("speedup").is_not_null()).sort("speedup")
    said = rows.select("method", "speedup", "ci_low", "ci_high").iter_rows()
    return listed(f"{shown(m)} {v:.2f} ({low:.2f} to {high:.2f})" for m, v, low, high in said)


def listed(parts: Iterable[str]) -> str:
    """Return parts in one sentence."""
    return f"{', '.join(parts)}."


VALUES: dict[str, Callable[[Tables], str]] = {
    "accuracy": of_accuracy,
    "tokens": of_tokens,
    "speed": of_speed,
    "pareto": of_pareto,
}
