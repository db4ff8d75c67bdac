"""One pair's rows of throughput.csv and their figure, from the answers under load."""

from pathlib import Path

import polars as pl

from stages.analysis.captions import under_load
from stages.analysis.listing import OF_LOAD
from stages.analysis.load import load_rows
from stages.analysis.plots import save, set_style, throughput_against_latency
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import LOADS, read_parquet, write_csv
from stages.tracking.notes import write_provenance


def main() -> None:
    """Write throughput.csv of one pair, and draw it."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--throughput", type=Path, required=True, help="throughput.parquet")
    parser.add_argument("--out", type=Path, required=True, help="throughput.csv")
    parser.add_argument("--figures", type=Path, required=True, help="folder for the figure")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("load", args)
    rows = load_rows(read_parquet(args.throughput, LOADS))
    table = pl.DataFrame([{"pair": args.pair, **row} for row in rows], infer_schema_length=None)
    origin = provenance.derived(job, [args.throughput])
    write_csv(args.out, table)
    write_provenance(origin, args.out)
    set_style()
    caption = under_load(table, job.settings.speed_benchmark)
    name = f"{args.pair}-{OF_LOAD}"
    save(throughput_against_latency(table), origin, args.figures, name, caption)


if __name__ == "__main__":
    command_line.run(main)
