"""What came out of a pair's run, in sentences: the first lines of the report."""

from collections.abc import Sequence

import polars as pl

from stages.analysis.display import shown
from stages.tracking.files import Row

MOST = 3  # benchmarks of which each is named
TIMES = "\N{MULTIPLICATION SIGN}"


def findings(
    accuracy: pl.DataFrame,
    differences: pl.DataFrame,
    speed: pl.DataFrame,
    left_out: pl.DataFrame,
    speed_benchmark: str,
) -> list[str]:
    """Return the sentences: on speed, on accuracy, on both, and on gaps.

    The tables: one pair's rows; `speed_benchmark`: where it was timed.
    """
    ours = speed.filter(pl.col("speedup").is_not_null())
    sentences = [
        in_speed(ours),
        in_accuracy(differences),
        dominated(ours, accuracy.filter(benchmark=speed_benchmark), speed_benchmark),
        missing(left_out),
    ]
    return list(filter(None, sentences))


def in_speed(speed: pl.DataFrame) -> str:
    """Return what is faster than the large model alone: an interval above 1."""
    others = speed.filter(pl.col("method") != "large").sort("speedup", descending=True)
    if others.is_empty():
        return "No method was compared with the large model."
    faster = others.filter(pl.col("ci_low") > 1)
    if faster.is_empty():
        return "No method was shown to be faster than the large model alone."
    said = [f"{shown(row['method'])} {times(row)}" for row in faster.iter_rows(named=True)]
    slower = others.filter(pl.col("ci_low") <= 1)["method"].to_list()
    rest = f"; not shown to be faster: {named(slower)}" if slower else ""
    return f"Faster than the large model alone: {', '.join(said)}{rest}."


def times(row: Row) -> str:
    """Return a speedup with its interval."""
    return f"{row['speedup']:.2f}{TIMES} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"


def in_accuracy(differences: pl.DataFrame) -> str:
    """Return who answers better or worse than the large model, and of whom neither is shown."""
    if differences.is_empty():
        return ""
    parts = []
    for verdict, words in (("worse", "Less accurate than it"), ("better", "More accurate")):
        rows = differences.filter(verdict=verdict)
        if len(rows):
            said = [gained(some) for some in rows.partition_by("method", maintain_order=True)]
            parts.append(f"{words} (Pass@1, points): {'; '.join(said)}.")
    decided = set(differences.filter(pl.col("verdict") != "undecided")["method"])
    methods = differences["method"].unique(maintain_order=True)
    undecided = [method for method in methods if method not in decided]
    if undecided:
        most = largest(differences, undecided)
        parts.append(f"No difference in Pass@1 is shown for {named(undecided)}: {most}.")
    return " ".join(parts)


def largest(differences: pl.DataFrame, methods: Sequence[str]) -> str:
    """Return the largest of differences that are not shown, with what its interval holds."""
    rows = differences.filter(pl.col("method").is_in(methods)).sort(pl.col("difference").abs())
    return f"the largest is {gained(rows.tail(1))}"


def gained(rows: pl.DataFrame) -> str:
    """Return one method's differences to the large model with their intervals, in points.

    Of more than MOST benchmarks, the largest.
    """
    before = ""
    if len(rows) > MOST:
        before = f"on {len(rows)} benchmarks, most: "
        rows = rows.sort(pl.col("difference").abs()).tail(1)
    said = [
        f"{signed(row['difference'])} on {shown(row['benchmark'])} "
        f"({signed(row['ci_low'])} to {signed(row['ci_high'])})"
        for row in rows.iter_rows(named=True)
    ]
    return f"{shown(rows['method'][0])} {before}{', '.join(said)}"


def signed(points: float) -> str:
    """Return a difference with its sign; 0 has none."""
    text = f"{points:+.1f}"
    return text[1:] if float(text) == 0 else text


def dominated(speed: pl.DataFrame, accuracy: pl.DataFrame, benchmark: str) -> str:
    """Return which methods another one beats in speed and accuracy, and by how much.

    By the values alone, whatever their intervals hold.
    """
    rows = speed.join(accuracy.select("method", "pass_at_1"), on="method", maintain_order="left")
    found = [
        beaten(row, best)
        for row in rows.iter_rows(named=True)
        if (best := dominator(row, rows.to_dicts()))
    ]
    if not found:
        return f"No method is both slower and less accurate than another on {shown(benchmark)}."
    return (
        f"By the values on {shown(benchmark)}, whatever their intervals hold, these are beaten in "
        f"both: {'; '.join(found)}."
    )


def dominator(row: Row, others: Sequence[Row]) -> Row | None:
    """Return the fastest method that is as fast and as accurate, and better in one of both."""
    own = row["speedup"], row["pass_at_1"]
    better = [
        one
        for one in others
        if one["speedup"] >= own[0]
        and one["pass_at_1"] >= own[1]
        and (one["speedup"], one["pass_at_1"]) != own
    ]
    return max(better, key=lambda one: (one["speedup"], one["pass_at_1"]), default=None)


def beaten(row: Row, best: Row) -> str:
    """Return by whom a method is beaten and by how much."""
    faster, points = best["speedup"] / row["speedup"], best["pass_at_1"] - row["pass_at_1"]
    accurate = f"{points:.1f} points more accurate" if points else "as accurate"
    names = f"{shown(row['method'])} by {shown(best['method'])}"
    return f"{names}, {faster:.2f}{TIMES} as fast and {accurate}"


def missing(left_out: pl.DataFrame) -> str:
    """Return what the run went without, and why."""
    parts = [
        f"{shown(name)} ({reason})"
        for name, reason in left_out.select("left_out", "reason").iter_rows()
    ]
    return f"Left out: {'; '.join(parts)}." if parts else ""


def named(methods: Sequence[str]) -> str:
    """Return methods in one line."""
    return ", ".join(map(shown, methods))
