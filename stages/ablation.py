"""One pair's rows of cue_ablation.csv: the relay and its variants on one benchmark."""

from pathlib import Path

import polars as pl

from stages.analysis.accuracy import accuracy_row
from stages.analysis.grading import score
from stages.config.params import load
from stages.merge import check_complete
from stages.runtime import command_line
from stages.tracking import provenance
from stages.tracking.frames import read_parquet, write_csv
from stages.tracking.notes import write_provenance

COLUMNS = ("pass_at_1", "ci_low", "ci_high", "large_utilization")


def main() -> None:
    """Write cue_ablation.csv of one pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--generations", type=Path, required=True, help="folder METHOD/BENCHMARK")
    parser.add_argument("--out", type=Path, required=True, help="cue_ablation.csv")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    pair = params.pair(args.pair)
    name = pair.ablation_benchmark
    files = [args.problems / f"{name}.parquet"]
    problems = read_parquet(files[0])
    scoring = pair.benchmarks[name].scoring
    rows = []
    for method in ("relaygen", *params.variants_of(args.pair)):
        path = args.generations / method / f"{name}.parquet"
        files.append(path)
        answers = read_parquet(path)
        check_complete(answers, problems, pair.repeats, path)
        scores = score(answers, problems, scoring)
        figures = accuracy_row(scores, answers, params.tables.bootstrap, params.seed)
        row = {column: figures[column] for column in COLUMNS}
        rows.append({"pair": args.pair, "cue_set": method, "benchmark": name, **row})
    write_csv(args.out, pl.DataFrame(rows))
    origin = provenance.derived(files, seed=params.seed, bootstrap=params.tables.bootstrap)
    write_provenance(origin, args.out)


if __name__ == "__main__":
    command_line.run(main)
