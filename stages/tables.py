"""The tables of all pairs as CSV and Markdown, the paper's figures beside ours."""

from pathlib import Path

import polars as pl
import polars.selectors as cs
import yaml

from stages import cli
from stages.files import write_csv, write_text
from stages.params import load

REFERENCE = Path("workflow/reference/paper.yaml")


def with_paper(table: pl.DataFrame) -> pl.DataFrame:
    """`table` with a column `paper`: empty where the paper printed nothing."""
    printed = yaml.safe_load(REFERENCE.read_text())["accuracy"]
    keys = table.select("pair", "benchmark", "method").iter_rows()
    values = [printed.get(p, {}).get(b, {}).get(m) for p, b, m in keys]
    return table.with_columns(pl.Series("paper", values, dtype=pl.Float64))


def markdown(table: pl.DataFrame) -> str:
    """The table for people: one decimal."""
    rounded = table.with_columns(cs.float().map_elements("{:.1f}".format, return_dtype=pl.String))
    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=1000,
    ):
        return f"{rounded.fill_null('')}\n"


def main() -> None:
    """Write accuracy.csv and accuracy.md."""
    parser = cli.parser(__doc__)
    parser.add_argument("--summaries", type=Path, required=True, help="folder PAIR/accuracy.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    args = parser.parse_args()
    cli.start_log(args.log)
    parts = [pl.read_csv(args.summaries / pair / "accuracy.csv") for pair in load(args.params).run]
    table = with_paper(pl.concat(parts))
    write_csv(args.out / "accuracy.csv", table)
    write_text(args.out / "accuracy.md", markdown(table))


if __name__ == "__main__":
    cli.run(main)
