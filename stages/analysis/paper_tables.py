"""The tables as printed: our values beside the paper's, where the paper has them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from stages.analysis.display import shown, sizes
from stages.analysis.table_grid import Cell, Grid, digits_of, number, ranked

REFERENCE = Path("workflow/reference/paper.yaml")
Printed = dict[str, Any]
RANKS = "The best is bold, the second underlined."


def of_pairs(printed: Printed, published: dict[str, str | None]) -> Printed:
    """Return the paper's values by our pairs' names; `published`: {pair: its name in the paper}."""
    names = {pair: name for pair, name in published.items() if name}
    by_pair = {
        table: {pair: printed[table].get(name, {}) for pair, name in names.items()}
        for table in ("accuracy", "speed")
    }
    return {**printed, **by_pair}


def accuracy(table: pl.DataFrame, printed: Printed) -> pl.DataFrame:
    """Add a column `paper`, the paper's Table 2, empty where it has no value.

    Methods that the pair has not run, as R2R, get rows with the paper's values alone.
    """
    sets = table.select("pair", "benchmark").unique(maintain_order=True).iter_rows()
    others = [
        {"pair": pair, "method": method, "benchmark": benchmark}
        for pair, benchmark in sets
        for method in printed["accuracy"].get(pair, {}).get(benchmark, {})
    ]
    return with_paper(with_rows(table, others), printed)


def with_rows(table: pl.DataFrame, others: list[dict[str, str]]) -> pl.DataFrame:
    """Return the table with the rows of `others` whose pair has no such method in it."""
    known = set(table.select("pair", "method").rows())
    more = pl.DataFrame([row for row in others if (row["pair"], row["method"]) not in known])
    return pl.concat([table, more], how="diagonal") if len(more) else table


def with_paper(table: pl.DataFrame, printed: Printed) -> pl.DataFrame:
    """Add a column `paper`: the paper's Table 2, empty where it has no value."""
    keys = table.select("pair", "benchmark", "method").iter_rows()
    values = [printed["accuracy"].get(p, {}).get(b, {}).get(m) for p, b, m in keys]
    return table.with_columns(pl.Series("paper", values, dtype=pl.Float64))


def differences(table: pl.DataFrame, printed: Printed) -> pl.DataFrame:
    """Add a column `paper`: the difference of the values in the paper's Table 2."""
    ours = with_paper(table, printed)["paper"]
    large = with_paper(table.with_columns(method=pl.lit("large")), printed)["paper"]
    return table.with_columns(paper=ours - large)


def speed(table: pl.DataFrame, printed: Printed) -> pl.DataFrame:
    """Add speedup and utilization of the paper's Table 3, and their SDs; empty where it has none.

    Methods that the pair has not run, as R2R, get rows with the paper's values alone.
    """
    others = [
        {"pair": pair, "method": method}
        for pair in table["pair"].unique(maintain_order=True)
        for method in printed["speed"].get(pair, {})
    ]
    table = with_rows(table, others)
    keys = table.select("pair", "method").rows()
    for value in ("speedup", "large_utilization"):
        rows = [printed["speed"].get(p, {}).get(m, {}).get(value, (None, None)) for p, m in keys]
        table = table.with_columns(
            pl.Series(f"paper_{value}", [row[0] for row in rows], dtype=pl.Float64),
            pl.Series(f"paper_{value}_sd", [row[1] for row in rows], dtype=pl.Float64),
        )
    return table


def as_it_is(table: pl.DataFrame, printed: Printed) -> pl.DataFrame:
    """Add nothing: the paper has no such values."""
    return table


def with_speedup(policies: pl.DataFrame, speeds: pl.DataFrame) -> pl.DataFrame:
    """Add each method's speedup, on the speed benchmark; empty for one that was not timed."""
    timed = speeds.select("pair", "method", "speedup")
    return policies.join(timed, on=["pair", "method"], how="left", maintain_order="left")


def answer_stage(table: pl.DataFrame, printed: Printed) -> pl.DataFrame:
    """Add a column `paper`: the value that the paper's text gives for all of its pairs."""
    value = printed["text"]["answer_stage_consistency_percent"]
    of_paper = pl.col("pair").is_in(list(printed["accuracy"]))
    return table.with_columns(paper=pl.when(of_paper).then(pl.lit(value)))


def accuracy_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Print Table 2: a row per method, a column per benchmark, ours and the paper's."""
    methods = table.select("method").unique(maintain_order=True)
    columns = [column_of(methods["method"].to_list(), "method")]
    for benchmark in table["benchmark"].unique(maintain_order=True):
        rows = methods.join(
            table.filter(benchmark=benchmark), on="method", how="left", maintain_order="left"
        )
        name, (n, repeats) = shown(benchmark), size(rows)
        ours = value_column(rows, name, "pass_at_1", digits=digits_of(n * repeats))
        columns += [with_intervals(column, rows) for column in ours]
        columns += value_column(rows, f"{name} (paper)", "paper")
        columns += missing_columns(rows, f"{name}, ")
    return grid(f"Pass@1 (%) of the pair {pair}", columns, f"{sizes(table)} {RANKS}")


def differences_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Print each method's difference to the large model, with its interval."""
    intervals = [
        f"{low:+.1f} to {high:+.1f}" for low, high in table.select("ci_low", "ci_high").iter_rows()
    ]
    columns = [
        *(column_of(table[name].to_list(), name) for name in ("method", "benchmark")),
        column_of([str(n) for n in table["n_problems"]], "n"),
        column_of([f"{value:+.1f}" for value in table["difference"]], "difference"),
        column_of(intervals, "95 % interval"),
        column_of(table["verdict"].to_list(), "verdict"),
        *value_column(table, "paper", "paper", best=False),
    ]
    notes = (
        "n: problems. Intervals: paired bootstrap over problems, not adjusted for the number of "
        "comparisons."
    )
    return grid(f"Pass@1 (points) minus that of the large model, pair {pair}", columns, notes)


def policies_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Print accuracy beside the large model's share and the speedup, and who dominates."""
    columns = [
        *(column_of(table[name].to_list(), name) for name in ("method", "benchmark")),
        *value_column(table, "Pass@1 (%)", "pass_at_1", best=False, digits=1),
        *value_column(table, "utilization (%)", "large_utilization", best=False, digits=1),
        *value_column(table, "speedup", "speedup", best=False),
        column_of([methods_in(by or "") for by in table["dominated_by"]], "dominated by"),
    ]
    notes = (
        "Dominated: another method is shown to be better in accuracy or utilization, and is not "
        "shown to be worse in the other (95 % intervals, paired bootstrap over problems)."
    )
    return grid(f"Accuracy against the large model's share, pair {pair}", columns, notes)


def methods_in(listed: str) -> str:
    """Return a list of methods as they are printed."""
    return ", ".join(shown(name) for name in listed.split(", "))


def speed_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Print Table 3: speedup and large-model utilization, mean and SD over problems."""
    columns = [
        column_of(table["method"].to_list(), "method"),
        *(
            with_intervals(column, table, digits=2)
            for column in value_column(table, "speedup", "speedup", "speedup_sd")
        ),
        *value_column(table, "speedup (paper)", "paper_speedup", "paper_speedup_sd"),
        *value_column(
            table,
            "utilization (%)",
            "large_utilization",
            "large_utilization_sd",
            best=False,
            digits=1,
        ),
        *value_column(
            table,
            "utilization (%, paper)",
            "paper_large_utilization",
            "paper_large_utilization_sd",
            best=False,
        ),
        *value_column(table, "acceptance length", "acceptance_length", best=False),
        *value_column(table, "bound", "bound", best=False),
        *value_column(table, "of bound (%)", "bound_percent", best=False, digits=0),
    ]
    n, runs = size(table, "n_runs")
    notes = f"Mean ± standard deviation over {n} problems, each answered {runs} times. {RANKS}"
    return grid(f"Speedup over the large model of the pair {pair}", columns, notes)


def throughput_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Print answers a minute and times per answer, by the number of answers in flight."""
    unit = "GPU" if table["gpus"].sum() else "core"
    values = (
        ("answers/min", "answers_per_min", 1), ("tokens/min", "tokens_per_min", 0),
        ("median (s)", "median_s", 1), ("p95 (s)", "p95_s", 1),
        ("first token (s)", "first_token_s", 2), ("utilization (%)", "large_utilization", 1),
        (f"{unit}-s/answer", f"{unit.lower()}_s_per_answer", 1),
        ("against large", "against_large", 2),
    )  # fmt: skip
    named = table.select("method", "replicas", "in_flight").iter_rows()
    columns = [
        ("method, in flight", [Cell(f"{with_replicas(*one)}, {n}") for *one, n in named]),
        *(
            column
            for title, name, digits in values
            for column in value_column(table, title, name, best=False, digits=digits)
        ),
    ]
    notes = (
        f"{table['n_problems'][0]} problems, each answered as often as it takes for twice as many "
        "answers as are in flight. Against large: answers a minute divided by those of the large "
        "model on as much hardware."
    )
    return grid(f"Answers under load, pair {pair}", columns, notes)


def with_replicas(method: str, n: int) -> str:
    """Return the name of a method that may have several engines of a kind."""
    return f"{shown(method)} ({n} engines)" if n > 1 else shown(method)


def cue_ablation_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Print the relay and its variants on one benchmark."""
    n, repeats = size(table)
    name = shown(table["benchmark"][0])
    columns = [
        column_of(table["cue_set"].to_list(), "variant"),
        *value_column(table, f"{name} (%)", "pass_at_1", digits=digits_of(n * repeats)),
        *value_column(table, "utilization (%)", "large_utilization", best=False, digits=1),
        *missing_columns(table),
    ]
    notes = f"n = {n} problems, answers to each: {repeats}. {RANKS}"
    return grid(f"Ablation of the relay, pair {pair}", columns, notes)


def answer_stage_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Print the share of final answers that stay the same."""
    columns = [
        column_of(table["benchmark"].to_list(), "benchmark"),
        column_of([str(n) for n in table["n"]], "answers"),
        *value_column(
            table,
            "same (%)",
            "consistent_percent",
            best=False,
            digits=digits_of(max([1, *table["n"]])),
        ),
        *value_column(table, "paper", "paper", best=False),
    ]
    return grid(f"Final answers with the answer stage by the small model, pair {pair}", columns)


def left_out_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Print the methods and benchmarks that were left out, and why; often none."""
    columns = [column_of(table[name].to_list(), name) for name in ("left_out", "reason")]
    return grid(f"Left out, pair {pair}", columns)


Column = tuple[str, list[Cell]]


def column_of(texts: list[str], title: str) -> Column:
    """Return a column of text: names as they are shown."""
    return title, [Cell(shown(text)) for text in texts]


def size(table: pl.DataFrame, repeats: str = "n_repeats") -> tuple[int, int]:
    """Return (problems, answers to each); rows that hold the paper's values alone have none."""
    n, k = table.select("n_problems", repeats).drop_nulls().row(0)
    return n, k


def value_column(
    table: pl.DataFrame,
    title: str,
    mean: str,
    sd: str | None = None,
    best: bool = True,
    digits: int = 2,
) -> list[Column]:
    """Return a column of numbers; none if all are missing. `best`: mark the best and the second."""
    values = table[mean].to_list()
    if not any(value is not None for value in values):
        return []
    spreads = table[sd].to_list() if sd else [None] * len(values)
    cells = [number(*pair, digits=digits) for pair in zip(values, spreads, strict=True)]
    return [(title, ranked(cells, values, digits) if best else cells)]


def with_intervals(column: Column, table: pl.DataFrame, digits: int = 0) -> Column:
    """Return a column with each value's 95 % interval beside it."""
    title, cells = column
    intervals = table.select("ci_low", "ci_high").iter_rows()
    return title, [
        cell if low is None else replace(cell, aside=f"{low:.{digits}f} to {high:.{digits}f}")
        for cell, (low, high) in zip(cells, intervals, strict=True)
    ]


def missing_columns(table: pl.DataFrame, before: str = "") -> list[Column]:
    """Return the shares of answers cut off and without a final answer; none where there are none.

    `before`: what the titles begin with.
    """
    if not table["no_answer_percent"].sum():
        return []
    return [
        *value_column(table, f"{before}cut off (%)", "cut_percent", best=False, digits=0),
        *value_column(table, f"{before}no answer (%)", "no_answer_percent", best=False, digits=0),
    ]


def grid(title: str, columns: list[Column], notes: str = "") -> Grid:
    """Return a grid from its columns."""
    rows = [list(row) for row in zip(*(cells for _, cells in columns), strict=True)]
    return Grid(title, [name for name, _ in columns], rows, notes)


# {name in the listing: (adds the paper's values, makes the printed table of a pair)}
GRIDS: dict[
    str,
    tuple[Callable[[pl.DataFrame, Printed], pl.DataFrame], Callable[[str, pl.DataFrame], Grid]],
] = {
    "policies": (as_it_is, policies_grid),
    "accuracy": (accuracy, accuracy_grid),
    "differences": (differences, differences_grid),
    "speed": (speed, speed_grid),
    "throughput": (as_it_is, throughput_grid),
    "cue_ablation": (as_it_is, cue_ablation_grid),
    "answer_stage": (answer_stage, answer_stage_grid),
    "left_out": (as_it_is, left_out_grid),
}
