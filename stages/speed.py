"""One pair's rows of speed.csv, from the measured latencies (paper Table 3).

speedup = mean latency of the large model alone / mean latency of the method, over all runs; its SD
is the sample SD of the per-problem ratios. The bound is the speedup that the method's token shares
would give if hand-offs were free, at the time per token of each engine alone in the same run.
"""

from pathlib import Path

import polars as pl

from stages.analysis.speedup import check_methods, speed_row
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import LATENCIES, read_parquet, write_csv
from stages.tracking.notes import write_provenance


def main() -> None:
    """Write speed.csv of one pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--latency", type=Path, required=True, help="latency.parquet")
    parser.add_argument("--out", type=Path, required=True, help="speed.csv")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("speed", args)
    settings = job.settings
    latency = read_parquet(args.latency, LATENCIES)
    check_methods(latency, list(settings.roles), args.latency)
    rows = [{"pair": args.pair, **speed_row(name, latency, settings)} for name in settings.roles]
    write_csv(args.out, pl.DataFrame(rows, infer_schema_length=None))
    write_provenance(provenance.derived(job, [args.latency]), args.out)


if __name__ == "__main__":
    command_line.run(main)
