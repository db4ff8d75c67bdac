"""Draw the figures, as PDF and PNG: readable in print and without distinguishing colours."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.methods.matching import SEGMENT_ENDS, CueMatching, occurrences, segment
from stages.tracking.files import Row, atomic
from stages.tracking.notes import write_provenance

mpl.use("Agg")
COLORS = sns.color_palette("colorblind")
MARKERS = "osD^vPX*"
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++")
WIDTH = 7.0  # inches: the text width of a page
WINDOW = 220  # tokens of a trace in one figure; more are not legible


def color(i: int) -> tuple[float, float, float]:
    """Return the colour of the i-th method; after ten they come again, with other marks."""
    rgb: tuple[float, float, float] = COLORS[i % len(COLORS)]
    return rgb


def marker(i: int) -> str:
    """Return the marker of the i-th method."""
    return MARKERS[i % len(MARKERS)]


def hatch(i: int) -> str:
    """Return the hatching of the i-th method's bars."""
    return HATCHES[i % len(HATCHES)]


def margins_along_trace(
    margins: pl.DataFrame,
    cues: list[str],
    matching: CueMatching,
    segment_ends: Sequence[str] = SEGMENT_ENDS,
) -> Figure:
    """Draw the small model's margin per token, at the beginning of a trace of median length."""
    lengths = margins.group_by("problem_id", "repeat").len().sort("len", "problem_id", "repeat")
    median = lengths.row(len(lengths) // 2, named=True)
    frame = margins.filter(problem_id=median["problem_id"], repeat=median["repeat"])
    reasoning = frame.filter(stage="reasoning").sort("position")
    shown = reasoning["margin"].to_numpy()[:WINDOW]
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    axes.plot(np.arange(len(shown)), shown, color=COLORS[0], lw=1)
    spans = shaded(reasoning["token"], cues, matching, segment_ends)
    for (first, last), cue in spans.items():
        if last <= len(shown):
            axes.axvspan(first - 0.5, last - 0.5, color=COLORS[1], alpha=0.25, lw=0)
            axes.text(first, 1.04, cue, fontsize=7, rotation=30, ha="left", va="bottom")
    axes.set(
        xlabel=f"Token of the reasoning (problem {median['problem_id']}; "
        "shaded: segments of selected cues)",
        ylabel="Margin of the small model",
        ylim=(0, 1.03),
        xlim=(0, max(1, len(shown))),
    )
    return figure


def shaded(
    tokens: pl.Series, cues: list[str], matching: CueMatching, segment_ends: Sequence[str]
) -> dict[tuple[int, int], str]:
    """Return {(first token of a segment, one past its last): its cue}.

    Of nested cues ("Thus", "Thus,") it is the longest.
    """
    text, ends = tokens.str.join().item(), tokens.str.len_chars().cum_sum()
    starts = (ends - tokens.str.len_chars()).to_numpy()
    spans: dict[int, tuple[int, str]] = {}
    for cue in sorted(cues, key=len):
        for position in occurrences(text, cue, matching):
            first, last = np.searchsorted(starts, segment(text, cue, position, segment_ends))
            spans[int(last)] = (int(first), cue.strip())
    return {(first, last): cue for last, (first, cue) in spans.items()}


def cue_effects(table: pl.DataFrame, min_segments: int) -> Figure:
    """Draw the effect per candidate with enough segments, with its 95 % interval."""
    judged = table.filter(pl.col("n_segments") >= min_segments).sort("delta", "cue")
    figure, axes = plt.subplots(figsize=(WIDTH * 0.75, 0.8 + 0.2 * len(judged)))
    for selected, marker, color, label in (
        (True, "o", COLORS[0], "selected"),
        (False, "X", COLORS[3], "rejected"),
    ):
        rows = judged.with_row_index("y").filter(pl.col("selected") == selected)
        delta = rows["delta"].to_numpy()
        spread = np.abs(rows.select("ci_low", "ci_high").to_numpy().T - delta)
        axes.errorbar(delta, rows["y"], xerr=spread, fmt=marker, color=color, label=label,
                      capsize=2, ms=5, lw=1)  # fmt: skip
    axes.axvline(0, color="0.3", lw=0.8)
    names = [
        f"{cue.replace(' ', '␣')} ({n})" for cue, n in judged.select("cue", "n_segments").rows()
    ]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="Mean margin in the cue's segments minus that of other tokens", ylabel="")
    axes.legend(frameon=False, loc="lower right")
    axes.set_title("Cue (number of segments), 95 % interval over traces", fontsize=9, loc="left")
    return figure


def accuracy(table: pl.DataFrame) -> Figure:
    """Draw Pass@1 per method and benchmark with 95 % intervals."""
    figure, axes = plt.subplots(figsize=(WIDTH, 3))
    methods = table["method"].unique(maintain_order=True).to_list()
    benchmarks = table["benchmark"].unique(maintain_order=True).to_list()
    width = 0.8 / len(methods)
    for i, method in enumerate(methods):
        rows = table.filter(method=method)
        x = np.arange(len(rows)) + (i - (len(methods) - 1) / 2) * width
        value = rows["pass_at_1"].to_numpy()
        spread = np.abs(rows.select("ci_low", "ci_high").to_numpy().T - value)
        axes.bar(x, value, width * 0.92, color=color(i), hatch=hatch(i),
                 edgecolor="white", label=method)  # fmt: skip
        axes.errorbar(x, value, yerr=spread, fmt="none", color="0.15", capsize=2, lw=1)
        for at, top, number in zip(x, rows["ci_high"], value, strict=True):
            axes.text(at, top + 2, f"{number:.0f}", ha="center", fontsize=8)
    axes.set_xticks(range(len(benchmarks)), benchmarks)
    axes.set(ylabel="Pass@1 (%)", ylim=(0, 112), yticks=range(0, 101, 20))
    outside_legend(axes)
    return figure


def token_share(table: pl.DataFrame) -> Figure:
    """Draw which model writes the tokens, per benchmark and method with both models."""
    table = table.filter(pl.col("large_utilization").is_between(0, 100, closed="none"))
    labels = [f"{m}, {b}" for m, b in table.select("method", "benchmark").iter_rows()][::-1]
    large = table["large_utilization"].to_numpy()[::-1]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.26 * len(labels)))
    axes.barh(labels, large, color=COLORS[0], label="large model")
    axes.barh(labels, 100 - large, left=large, color=COLORS[1], hatch="///", edgecolor="white",
              label="small model")  # fmt: skip
    for y, share in enumerate(large):
        if 5 < share < 95:
            axes.text(share / 2, y, f"{share:.0f} %", ha="center", va="center", color="white",
                      fontsize=8)  # fmt: skip
    axes.set(xlabel="Share of all tokens (%)", xlim=(0, 100))
    outside_legend(axes)
    return figure


def speed_bars(table: pl.DataFrame) -> Figure:
    """Draw the speedup of each method with its 95 % interval."""
    figure, axes = plt.subplots(figsize=(WIDTH * 0.75, 0.8 + 0.35 * len(table)))
    value = table["speedup"].to_numpy()[::-1]
    spread = np.abs(table.select("ci_low", "ci_high").to_numpy()[::-1].T - value)
    axes.barh(table["method"].to_list()[::-1], value, xerr=spread, color=COLORS[0], height=0.6,
              error_kw={"ecolor": "0.15", "capsize": 2, "lw": 1})  # fmt: skip
    for y, (number, right) in enumerate(zip(value, value + spread[1], strict=True)):
        axes.text(right + 0.05, y, f"{number:.2f}", va="center", fontsize=8)
    axes.axvline(1, color="0.3", lw=0.8)
    axes.set(
        xlabel="Speedup over the large model alone", xlim=(0, (value + spread[1]).max() * 1.15)
    )
    return figure


def speed_against_accuracy(speed: pl.DataFrame, accuracy: pl.DataFrame) -> Figure:
    """Draw a point per method, speedup against Pass@1, and the line of the Pareto-optimal ones."""
    mean = accuracy.group_by("method").agg(pl.col("pass_at_1").mean())
    both = speed.join(mean, on="method", maintain_order="left")
    figure, axes = plt.subplots(figsize=(WIDTH * 0.75, 3.2))
    for i, row in enumerate(both.iter_rows(named=True)):
        spread = [[row["speedup"] - row["ci_low"]], [row["ci_high"] - row["speedup"]]]
        axes.errorbar(row["speedup"], row["pass_at_1"], xerr=np.abs(spread), fmt=marker(i),
                      color=color(i), ms=7, capsize=2, lw=1,
                      label=row["method"])  # fmt: skip
    slowest_first = both.sort("speedup")
    best_beyond = slowest_first["pass_at_1"].cum_max(reverse=True)
    front = slowest_first.filter(pl.col("pass_at_1") == best_beyond)
    axes.plot(front["speedup"], front["pass_at_1"], color="0.6", lw=1, ls="--", zorder=0)
    axes.set(xlabel="Speedup over the large model alone", ylabel="Pass@1, mean of benchmarks (%)",
             ylim=(0, 109), xlim=(0, None))  # fmt: skip
    outside_legend(axes, columns=3)
    return figure


def timeline(latency: pl.DataFrame) -> Figure:
    """Draw which model wrote when, in the relayed answer of median duration.

    If none was handed over at a cue, it is one of the first method.
    """
    cues = pl.element().struct.field("cue").is_not_null()
    relayed = latency.filter(pl.col("segments").list.eval(cues).list.any())
    shown = latency if relayed.is_empty() else relayed
    answers = shown.filter(method=shown["method"][0]).sort("wall_s")
    answer = answers.row(len(answers) // 2, named=True)
    figure, axes = plt.subplots(figsize=(WIDTH, 1.8))
    at = 0.0
    for part in answer["segments"]:
        large = part["model"] == "large"
        axes.broken_barh([(at, part["wall_s"])], (0.1 + 0.9 * large, 0.8), lw=0,
                         color=COLORS[0 if large else 1])  # fmt: skip
        at += part["wall_s"]
        if part["cue"]:
            axes.text(at, 1.95, part["cue"].strip(), fontsize=7, rotation=30, ha="left")
    axes.set_yticks([0.5, 1.4], ["small", "large"])
    axes.set(xlabel=f"Seconds ({answer['method']}, problem {answer['problem_id']}; above: cues)",
             xlim=(0, at), ylim=(0, 1.9))  # fmt: skip
    return figure


def outside_legend(axes: Axes, columns: int = 6) -> None:
    """Put the legend above the axes, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False,
                borderpad=0, columnspacing=1, handlelength=1.5, handletextpad=0.5)  # fmt: skip


def set_style() -> None:
    """Choose the style of all figures: readable in print."""
    sns.set_theme(style="ticks", context="paper", rc={"axes.spines.top": False,
                  "axes.spines.right": False, "pdf.fonttype": 42})  # fmt: skip


def save(figure: Figure, origin: Row, out: Path, name: str) -> None:
    """Write NAME.pdf, NAME.png and their provenance; the same data give the same bytes."""
    files = {suffix: out / f"{name}.{suffix}" for suffix in ("pdf", "png")}
    for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        with atomic(files[suffix]) as temporary:
            figure.savefig(
                temporary, format=suffix, dpi=200, bbox_inches="tight", metadata=metadata
            )
    plt.close(figure)
    write_provenance(origin, *files.values())
