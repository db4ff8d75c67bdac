r"""Numbers for running text: `\input{numbers.tex}`, then `\result{demo/relaygen/speedup}`."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from stages.analysis.table_grid import digits_of

HEAD = r"""% \result{NAME} prints the value of a line below.
\providecommand{\result}[1]{%
  \ifcsname result@#1\endcsname\csname result@#1\endcsname\else
  \GenericWarning{}{No result has the name #1}\textbf{??}\fi}
"""
LINE = r"\expandafter\def\csname result@{}\endcsname{{{}}}"
# {value: digits}; percentages of answers have those that their number allows.
OF_SPEED = {"speedup": 2, "speedup_sd": 2, "ci_low": 2, "ci_high": 2, "large_utilization": 1}
OF_ACCURACY = ("pass_at_1", "ci_low", "ci_high", "pass_at_k", "majority_at_k")


def numbers(accuracy: pl.DataFrame, speed: pl.DataFrame) -> str:
    r"""Return LaTeX that defines \result and a name for each number of the two tables.

    The names: PAIR/METHOD/BENCHMARK/VALUE of accuracy.csv, PAIR/METHOD/speed/VALUE of speed.csv,
    VALUE being a column.
    """
    lines = [*accuracy_values(accuracy), *speed_values(speed)]
    return HEAD + "".join(f"{LINE.format(name, value)}\n" for name, value in lines)


def accuracy_values(table: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of each number of accuracy.csv; none of the paper's."""
    for row in table.filter(pl.col("pass_at_1").is_not_null()).iter_rows(named=True):
        digits = digits_of(row["n_problems"] * row["n_repeats"])
        yield from named(row, row["benchmark"], dict.fromkeys(OF_ACCURACY, digits))


def speed_values(table: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of each number of speed.csv; none of the paper's."""
    for row in table.filter(pl.col("speedup").is_not_null()).iter_rows(named=True):
        yield from named(row, "speed", OF_SPEED)


def named(row: dict[str, Any], where: str, columns: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of a row's columns, as far as it has them. `columns`: their digits."""
    for column, digits in columns.items():
        if (value := row[column]) is not None:
            yield f"{row['pair']}/{row['method']}/{where}/{column}", f"{value:.{digits}f}"
