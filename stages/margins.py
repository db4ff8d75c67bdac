"""The small model reads each trace once: per token, p(top-1) - p(top-2) (paper section 3.1)."""

from pathlib import Path

from stages.generation.reading import read_traces
from stages.runtime import command_line
from stages.tracking import recipes
from stages.tracking.frames import TRACES, check_parquet


def main() -> None:
    """Write margins.parquet of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="traces.parquet")
    parser.add_argument("--out", type=Path, required=True, help="margins.parquet")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("margins", args)
    check_parquet(args.traces, TRACES)
    read_traces(job, args.traces, args.out, command_line.engine_logs(args.log))


if __name__ == "__main__":
    command_line.run(main)
