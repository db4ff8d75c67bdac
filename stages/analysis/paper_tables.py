"""The tables of all pairs: as CSV, and as the paper prints them in Markdown and LaTeX.

The paper's figures stand beside ours where it printed them, and nowhere else.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from stages.analysis.table_grid import Cell, Grid, figure, ranked

REFERENCE = Path("workflow/reference/paper.yaml")
Printed = dict[str, Any]


def of_pairs(printed: Printed, published: dict[str, str | None]) -> Printed:
    """The paper's figures by our pairs' names. `published`: {pair: what the paper calls it}."""
    names = {pair: name for pair, name in published.items() if name}
    by_pair = {
        table: {pair: printed[table].get(name, {}) for pair, name in names.items()}
        for table in ("accuracy", "speed")
    }
    return {**printed, **by_pair}


def accuracy(table: pl.DataFrame, printed: Printed) -> pl.DataFrame:
    """With a column `paper`: empty where the paper's Table 2 printed nothing."""
    keys = table.select("pair", "benchmark", "method").iter_rows()
    values = [printed["accuracy"].get(p, {}).get(b, {}).get(m) for p, b, m in keys]
    return table.with_columns(pl.Series("paper", values, dtype=pl.Float64))


def speed(table: pl.DataFrame, printed: Printed) -> pl.DataFrame:
    """With the speedup and SD of the paper's Table 3, where it printed them."""
    keys = table.select("pair", "method").iter_rows()
    rows = [printed["speed"].get(p, {}).get(m, {}).get("speedup", (None, None)) for p, m in keys]
    return table.with_columns(
        pl.Series("paper_speedup", [row[0] for row in rows], dtype=pl.Float64),
        pl.Series("paper_speedup_sd", [row[1] for row in rows], dtype=pl.Float64),
    )


def as_it_is(table: pl.DataFrame, printed: Printed) -> pl.DataFrame:
    """No figure of the paper's is at hand, or there could be none."""
    return table


def answer_stage(table: pl.DataFrame, printed: Printed) -> pl.DataFrame:
    """With the one figure that the paper's text gives for its pairs together."""
    value = printed["text"]["answer_stage_consistency_percent"]
    of_paper = pl.col("pair").is_in(list(printed["accuracy"]))
    return table.with_columns(paper=pl.when(of_paper).then(pl.lit(value)))


def accuracy_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Table 2: a row per method, a column per benchmark, ours and the paper's."""
    columns = [column_of(table["method"].unique(maintain_order=True).to_list(), "method")]
    for benchmark in table["benchmark"].unique(maintain_order=True):
        rows = table.filter(benchmark=benchmark)
        columns += figures(rows, benchmark, "pass_at_1") + figures(
            rows, f"{benchmark} (paper)", "paper"
        )
    return grid(f"Pass@1 (%) of the pair {pair}", columns)


def speed_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Table 3: speedup and large-model utilization, mean and SD over problems."""
    columns = [
        column_of(table["method"].to_list(), "method"),
        *figures(table, "speedup", "speedup", "speedup_sd"),
        *figures(table, "speedup (paper)", "paper_speedup", "paper_speedup_sd"),
        *figures(table, "utilization (%)", "large_utilization", "large_utilization_sd", best=False),
        *figures(table, "acceptance length", "acceptance_length", best=False),
        *figures(table, "bound", "bound", best=False),
        *figures(table, "of bound (%)", "bound_percent", best=False),
    ]
    return grid(f"Speedup over the large model of the pair {pair}", columns)


def cue_ablation_grid(pair: str, table: pl.DataFrame) -> Grid:
    """The relay and its variants on one benchmark."""
    columns = [
        column_of(table["cue_set"].to_list(), "variant"),
        *figures(table, f"{table['benchmark'][0]} (%)", "pass_at_1"),
        *figures(table, "utilization (%)", "large_utilization", best=False),
    ]
    return grid(f"Ablation of the relay, pair {pair}", columns)


def answer_stage_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Share of final answers that stay the same."""
    columns = [
        column_of(table["benchmark"].to_list(), "benchmark"),
        column_of([str(n) for n in table["n"]], "answers"),
        *figures(table, "same (%)", "consistent_percent", best=False),
        *figures(table, "paper", "paper", best=False),
    ]
    return grid(f"Final answers with the answer stage by the small model, pair {pair}", columns)


def left_out_grid(pair: str, table: pl.DataFrame) -> Grid:
    """Methods and benchmarks that the run went without, and why; often none."""
    columns = [column_of(table[name].to_list(), name) for name in ("left_out", "reason")]
    return grid(f"Left out, pair {pair}", columns)


Column = tuple[str, list[Cell]]


def column_of(texts: list[str], title: str) -> Column:
    """A column of plain text."""
    return title, [Cell(text) for text in texts]


def figures(
    table: pl.DataFrame, title: str, mean: str, sd: str | None = None, best: bool = True
) -> list[Column]:
    """A column of figures, `best` marked; none at all where there is no figure."""
    values = table[mean].to_list()
    if not any(value is not None for value in values):
        return []
    spreads = table[sd].to_list() if sd else [None] * len(values)
    cells = [figure(*pair) for pair in zip(values, spreads, strict=True)]
    return [(title, ranked(cells, values) if best else cells)]


def grid(title: str, columns: list[Column]) -> Grid:
    """A grid from its columns."""
    rows = [list(row) for row in zip(*(cells for _, cells in columns), strict=True)]
    return Grid(title, [name for name, _ in columns], rows)


# {name in the listing: (adds the paper's values, makes the printed table of a pair)}
GRIDS: dict[
    str,
    tuple[Callable[[pl.DataFrame, Printed], pl.DataFrame], Callable[[str, pl.DataFrame], Grid]],
] = {
    "accuracy": (accuracy, accuracy_grid),
    "speed": (speed, speed_grid),
    "cue_ablation": (as_it_is, cue_ablation_grid),
    "answer_stage": (answer_stage, answer_stage_grid),
    "left_out": (as_it_is, left_out_grid),
}
TABLES = GRIDS  # what the stage `tables` reads
