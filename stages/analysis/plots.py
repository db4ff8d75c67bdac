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
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

from stages.analysis import display
from stages.methods.matching import SEGMENT_ENDS, CueMatching, occurrences, segment
from stages.tracking.files import Row, atomic, write_text
from stages.tracking.notes import write_provenance

mpl.use("Agg")
COLORS = sns.color_palette("colorblind")
MARKERS = "osD^vPX*"
FIXED = (
    *("large", "small", "relaygen", "eagle3", "relaygen_eagle3", "spec_think"),
    *("draft", "ngram"),
)
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++")
WIDTH, COLUMN = 7.0, 3.4  # inches: the text of a page in two columns, and one column
SPEEDUP = "Speedup over the large model alone (\N{MULTIPLICATION SIGN})"
MAX_BARS = 48  # in one row of bars; more are not legible
MAX_LINES = 40  # likewise, below each other
WINDOW = 220  # tokens of a trace in one figure; more are not legible


def looks(methods: Sequence[str]) -> dict[str, int]:
    """Return {method: number of its look}, in all figures the same; large 0, small 1."""
    others = [method for method in methods if method not in FIXED]
    return {method: i for i, method in enumerate((*FIXED, *others))}


def color(i: int) -> tuple[float, float, float]:
    """Return the colour of the i-th look; after ten they come again, with other marks."""
    rgb: tuple[float, float, float] = COLORS[i % len(COLORS)]
    return rgb


def marker(i: int) -> str:
    """Return the marker of the i-th look."""
    return MARKERS[i % len(MARKERS)]


def hatch(i: int) -> str:
    """Return the hatching of the bars of the i-th look."""
    return HATCHES[i % len(HATCHES)]


def margins_along_trace(
    margins: pl.DataFrame,
    cues: list[str],
    matching: CueMatching,
    segment_ends: Sequence[str] = SEGMENT_ENDS,
) -> Figure:
    """Draw the small model's margin per token, at the beginning of a trace of median length."""
    problem, repeat = median_trace(margins)
    frame = margins.filter(problem_id=problem, repeat=repeat)
    reasoning = frame.filter(stage="reasoning").sort("position")
    shown = reasoning["margin"].to_numpy()[:WINDOW]
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    axes.plot(np.arange(len(shown)), shown, color=color(looks([])["small"]), lw=1)
    spans = shaded(reasoning["token"], cues, matching, segment_ends)
    for (first, last), cue in spans.items():
        if last <= len(shown):
            axes.axvspan(first - 0.5, last - 0.5, color="0.85", lw=0)
            axes.text(first, 1.04, cue, fontsize=7, rotation=30, ha="left", va="bottom")
    axes.set(
        xlabel="Token of the reasoning",
        ylabel="Margin of the small model",
        ylim=(0, 1.03),
        xlim=(0, max(1, len(shown))),
    )
    return figure


def median_trace(margins: pl.DataFrame) -> tuple[int, int]:
    """Return problem and repeat of the trace of median length."""
    lengths = margins.group_by("problem_id", "repeat").len().sort("len", "problem_id", "repeat")
    problem, repeat, _ = lengths.row(len(lengths) // 2)
    return problem, repeat


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
        (True, "o", "0.1", "selected"),
        (False, "X", "0.6", "rejected"),
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
    axes.set(xlabel="Difference of mean margins", ylabel="Cue (segments)")
    axes.legend(frameon=False, loc="lower right")
    return figure


def accuracy(table: pl.DataFrame) -> Figure:
    """Draw Pass@1 per method and benchmark with 95 % intervals, in as many rows as it takes."""
    methods = table["method"].unique(maintain_order=True).to_list()
    benchmarks = table["benchmark"].unique(maintain_order=True).to_list()
    per_row = max(1, MAX_BARS // len(methods))
    rows = [benchmarks[i : i + per_row] for i in range(0, len(benchmarks), per_row)]
    figure, grid = plt.subplots(len(rows), figsize=(WIDTH, 0.4 + 1.8 * len(rows)), squeeze=False)
    for axes, names in zip(grid[:, 0], rows, strict=True):
        accuracy_row(axes, table, methods, names)
    outside_legend(grid[0, 0])
    figure.tight_layout()
    return figure


def accuracy_row(
    axes: Axes, table: pl.DataFrame, methods: Sequence[str], benchmarks: Sequence[str]
) -> None:
    """Draw the bars of some benchmarks beside each other."""
    look, width = looks(methods), 0.8 / len(methods)
    size = 7 if len(methods) * len(benchmarks) <= MAX_BARS / 2 else 5
    for i, method in enumerate(methods):
        rows = table.filter(pl.col("benchmark").is_in(benchmarks), method=method)
        at = [benchmarks.index(name) for name in rows["benchmark"]]
        x = np.array(at) + (i - (len(methods) - 1) / 2) * width
        value = rows["pass_at_1"].to_numpy()
        axes.bar(x, value, width * 0.92, color=color(look[method]), hatch=hatch(look[method]),
                 edgecolor="white", lw=0.3, label=display.shown(method))  # fmt: skip
        axes.errorbar(x, value, yerr=spread(rows, "pass_at_1"), fmt="none", color="0.15", capsize=2,
                      lw=0.8)  # fmt: skip
        for right, top, number in zip(x, rows["ci_high"], value, strict=True):
            axes.text(right, top + 2, f"{number:.0f}", ha="center", fontsize=size)
    axes.set_xticks(range(len(benchmarks)), [display.shown(name) for name in benchmarks])
    axes.set(ylabel="Pass@1 (%)", ylim=(0, 114), yticks=range(0, 101, 20),
             xlim=(-0.5, len(benchmarks) - 0.5))  # fmt: skip


def spread(rows: pl.DataFrame, value: str) -> NDArray[np.float64]:
    """Return how far intervals reach to both sides of a value: [2, rows]."""
    found: NDArray[np.float64] = np.abs(
        rows.select("ci_low", "ci_high").to_numpy().T - rows[value].to_numpy()
    )
    return found


def token_share(table: pl.DataFrame) -> Figure:
    """Draw which model writes the tokens, per benchmark and method with both models.

    Of more than MAX_LINES of them, the mean of a method's benchmarks.
    """
    table = table.filter(pl.col("large_utilization").is_between(0, 100, closed="none"))
    if len(table) > MAX_LINES:
        means = pl.col("large_utilization").mean()
        table = table.group_by("method", maintain_order=True).agg(means, benchmark=pl.lit(None))
    labels = [
        ", ".join(display.shown(name) for name in names if name)
        for names in table.select("method", "benchmark").iter_rows()
    ][::-1]
    large = table["large_utilization"].to_numpy()[::-1]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.7 + 0.2 * len(labels)))
    for i, (left, width, label) in enumerate(
        ((0 * large, large, "Large model"), (large, 100 - large, "Small model"))
    ):
        axes.barh(labels, width, left=left, color=color(i), hatch=hatch(i), edgecolor="white",
                  lw=0.3, label=label)  # fmt: skip
    for y, share in enumerate(large):
        if 5 < share < 95:
            axes.text(share / 2, y, f"{share:.0f}", ha="center", va="center", color="white",
                      fontsize=7)  # fmt: skip
    axes.set(xlabel="Share of all tokens (%)", xlim=(0, 100))
    outside_legend(axes)
    return figure


def speed_bars(table: pl.DataFrame) -> Figure:
    """Draw the speedup of each method with its 95 % interval, and its bound."""
    figure, axes = plt.subplots(figsize=(COLUMN, 0.6 + 0.24 * len(table)))
    look, rows = looks(table["method"].to_list()), table.reverse()
    value, ends = rows["speedup"].to_numpy(), rows["ci_high"].to_numpy()
    for y, (method, width) in enumerate(rows.select("method", "speedup").iter_rows()):
        axes.barh(y, width, color=color(look[method]), hatch=hatch(look[method]),
                  edgecolor="white", lw=0.3, height=0.7)  # fmt: skip
    axes.errorbar(value, range(len(rows)), xerr=spread(rows, "speedup"), fmt="none", color="0.15",
                  capsize=2, lw=0.8)  # fmt: skip
    bound = rows["bound"].cast(pl.Float64).to_numpy()
    if not np.isnan(bound).all():
        axes.plot(bound, range(len(rows)), "D", mfc="white", mec="0.15", ms=4, label="bound")
        outside_legend(axes)
    right = np.fmax(ends, bound)
    for y, number in enumerate(value):
        axes.text(1.02, y, f"{number:.2f}", transform=axes.get_yaxis_transform(), va="center",
                  fontsize=7)  # fmt: skip
    axes.axvline(1, color="0.3", lw=0.8)
    axes.set_yticks(range(len(rows)), [display.shown(name) for name in rows["method"]])
    axes.set(
        xlabel=SPEEDUP,
        xlim=(0, right.max() * 1.05),
    )
    return figure


def speed_against_accuracy(speed: pl.DataFrame, accuracy: pl.DataFrame) -> Figure:
    """Draw a point per method, speedup against Pass@1, with the intervals of both.

    `accuracy`: rows of the benchmark on which speed was measured. Hollow points are dominated:
    another method is as fast and as accurate, and better in one of both.
    """
    both = speed.join(accuracy, on="method", suffix="_accuracy", maintain_order="left")
    look, front = looks(speed["method"].to_list()), undominated(both)
    figure, axes = plt.subplots(figsize=(COLUMN, 2.6))
    for row in both.iter_rows(named=True):
        i, best = look[row["method"]], row["method"] in front["method"]
        x, y = row["speedup"], row["pass_at_1"]
        axes.errorbar(
            x, y, xerr=reach(x, row["ci_low"], row["ci_high"]),
            yerr=reach(y, row["ci_low_accuracy"], row["ci_high_accuracy"]),
            fmt=marker(i), color=color(i), mfc=color(i) if best else "white", ms=5, capsize=2,
            lw=0.8, label=display.shown(row["method"]),
        )  # fmt: skip
    axes.plot(front["speedup"], front["pass_at_1"], color="0.6", lw=1, ls="--", zorder=0)
    axes.set(xlabel=SPEEDUP, ylabel="Pass@1 (%)")
    outside_legend(axes, columns=2)
    return figure


def reach(value: float, low: float, high: float) -> list[list[float]]:
    """Return how far one value's interval reaches, as errorbar takes it."""
    return [[abs(value - low)], [abs(high - value)]]


def undominated(both: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that no other is as fast and as accurate as, and better, slowest first."""
    fastest_first = both.sort("speedup", "pass_at_1", descending=True)
    before = fastest_first["pass_at_1"].cum_max().shift(1).fill_null(-1)
    return fastest_first.filter(pl.col("pass_at_1") > before).reverse()


def throughput_against_latency(table: pl.DataFrame) -> Figure:
    """Draw a curve per method, answers a minute against the median time of an answer.

    `table`: a pair's rows of throughput.csv. The large model in several engines is dashed.
    """
    look = looks(table["method"].unique(maintain_order=True).to_list())
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    for (method, n), rows in table.group_by("method", "replicas", maintain_order=True):
        i, several = look[str(method)], f" ({n} engines)" if n != 1 else ""
        x, y = rows["median_s"], rows["answers_per_min"]
        axes.plot(x, y, marker=marker(i), color=color(i), ms=4, lw=1, ls="--" if several else "-",
                  mfc="white" if several else color(i),
                  label=f"{display.shown(str(method))}{several}")  # fmt: skip
        for at, high, in_flight in zip(x, y, rows["in_flight"], strict=True):
            axes.annotate(f"{in_flight}", (at, high), (2, 2), textcoords="offset points",
                          fontsize=5, color=color(i))  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="Median time of an answer (s)",
             ylabel="Answers a minute")  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    outside_legend(axes)
    return figure


def policies_by_threshold(grid: pl.DataFrame) -> Figure:
    """Draw a curve per policy against its threshold: L's share of the tokens, predicted speedup.

    `grid`: rows of policies.csv of a replay. A policy without a threshold is a dashed line.
    """
    panels = {
        "large_utilization": "Large model's tokens (%)",
        "predicted_speedup": "Predicted speedup (\N{MULTIPLICATION SIGN})",
    }
    if grid["predicted_speedup"].is_null().all():
        del panels["predicted_speedup"]
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 2.6), squeeze=False)
    for part, (column, label) in zip(axes[0], panels.items(), strict=True):
        for i, ((policy,), rows) in enumerate(grid.group_by("policy", maintain_order=True)):
            named = display.shown(str(policy))
            if rows["threshold"].is_null().any():
                part.axhline(rows[column][0], color=color(i), lw=1, ls="--", label=named)
                continue
            part.plot(rows["threshold"], rows[column], marker=marker(i), color=color(i), ms=3,
                      lw=1, label=named)  # fmt: skip
        # Most margins are close to 1: the axis spreads them.
        part.set(xscale="logit", xlabel="Threshold of the small model's margin", ylabel=label,
                 ylim=(0, None))  # fmt: skip
        part.xaxis.set_major_formatter("{x:g}")
        part.xaxis.set_minor_formatter("")
    outside_legend(axes[0, 0], columns=6)
    figure.tight_layout()
    return figure


def acceptance_along_answer(table: pl.DataFrame) -> Figure:
    """Draw a curve per method, tokens per step by where in the answer the step began.

    `table`: see `acceptance.along`; without rows, no method drafts.
    """
    methods = table["method"].unique(maintain_order=True).to_list()
    look = looks(methods)
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    for method in methods:
        rows, i = table.filter(method=method), look[method]
        value = rows["acceptance_length"].to_numpy()
        axes.fill_between(rows["position"], rows["ci_low"], rows["ci_high"], color=color(i),
                          alpha=0.2, lw=0)  # fmt: skip
        axes.plot(rows["position"], value, marker=marker(i), color=color(i), ms=4, lw=1,
                  label=display.shown(method))  # fmt: skip
    axes.set(xlabel="Token of the answer", ylabel="Tokens per step")
    if methods:
        axes.set_ylim(bottom=1)  # the large model's own token
        outside_legend(axes)
    return figure


def median_answer(latency: pl.DataFrame) -> Row:
    """Return the relayed answer of median duration.

    If none was handed over at a cue, it is one of the first method.
    """
    cues = pl.element().struct.field("cue").is_not_null()
    relayed = latency.filter(pl.col("segments").list.eval(cues).list.any())
    shown = latency if relayed.is_empty() else relayed
    answers = shown.filter(method=shown["method"][0]).sort("wall_s")
    return answers.row(len(answers) // 2, named=True)


def timeline(latency: pl.DataFrame) -> Figure:
    """Draw which model wrote when, in the relayed answer of median duration."""
    answer = median_answer(latency)
    figure, axes = plt.subplots(figsize=(WIDTH, 1.8))
    at = 0.0
    for part in answer["segments"]:
        large = part["model"] == "large"
        axes.broken_barh([(at, part["wall_s"])], (0.1 + 0.9 * large, 0.8), lw=0,
                         color=color(looks([])[part["model"]]))  # fmt: skip
        at += part["wall_s"]
        if part["cue"]:
            axes.text(at, 1.95, part["cue"].strip(), fontsize=7, rotation=30, ha="left")
    axes.set_yticks([0.5, 1.4], ["small", "large"])
    axes.set(xlabel="Seconds", xlim=(0, at), ylim=(0, 1.9))
    return figure


def outside_legend(axes: Axes, columns: int = 4) -> None:
    """Put the legend above the axes, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False,
                borderpad=0, columnspacing=1, handlelength=1.5, handletextpad=0.5)  # fmt: skip


def set_style() -> None:
    """Choose the style of all figures: readable in print."""
    sns.set_theme(style="ticks", context="paper", rc={"axes.spines.top": False,
                  "axes.spines.right": False, "pdf.fonttype": 42, "font.size": 8,
                  "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
                  "legend.fontsize": 7, "hatch.linewidth": 0.5})  # fmt: skip


def save(figure: Figure, origin: Row, out: Path, name: str, caption: str) -> None:
    """Write NAME.pdf, .png, .txt (its caption) and their provenance.

    The same data give the same bytes.
    """
    files = {suffix: out / f"{name}.{suffix}" for suffix in ("pdf", "png")}
    for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        with atomic(files[suffix]) as temporary:
            figure.savefig(
                temporary, format=suffix, dpi=200, bbox_inches="tight", metadata=metadata
            )
    plt.close(figure)
    files["txt"] = out / f"{name}.txt"
    write_text(files["txt"], f"{caption}\n")
    write_provenance(origin, *files.values())
