"""One pair's rows of accuracy.csv (Pass@1 with intervals, tokens, utilization), of differences.csv
(each method against the large model), of policies.csv (who dominates whom) and of left_out.csv
(methods and benchmarks that the run went without).
"""

from pathlib import Path

import polars as pl

from stages.analysis import front
from stages.analysis.accuracy import accuracy_row, left_out_rows
from stages.analysis.differences import SCHEMA as DIFFERENCES
from stages.analysis.differences import difference_row
from stages.problems.availability import available, reasons
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import ANSWERS, SCORES, read_parquet, write_csv
from stages.tracking.notes import write_provenance


def main() -> None:
    """Write accuracy.csv, differences.csv, policies.csv and left_out.csv of one pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--scores", type=Path, required=True, help="scores.parquet")
    parser.add_argument("--generations", type=Path, required=True, help="folder METHOD/BENCHMARK")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("summary", args)
    settings = job.settings
    scores = read_parquet(args.scores, SCORES)
    rows, differences, files = [], [], [args.scores]
    problems: dict[str, dict[str, pl.DataFrame]] = {}
    for method in settings.method_names:
        for benchmark in available(settings.benchmarks, args.problems):
            files.append(args.generations / method / f"{benchmark}.parquet")
            answers = read_parquet(files[-1], ANSWERS)
            chosen = scores.filter(method=method, benchmark=benchmark)
            row = accuracy_row(chosen, answers, settings.bootstrap, settings.seed)
            names = {"pair": args.pair, "method": method, "benchmark": benchmark}
            rows.append({**names, **row})
            problems.setdefault(benchmark, {})[method] = front.per_problem(chosen, answers)
            if method != "large":
                large = scores.filter(method="large", benchmark=benchmark)
                of_large = difference_row(chosen, large, settings.bootstrap, settings.seed)
                differences.append({**names, **of_large})
    write_csv(args.out / "accuracy.csv", pl.DataFrame(rows))
    write_provenance(provenance.derived(job, files), args.out / "accuracy.csv")
    policies = front.table(args.pair, problems, rows, settings.bootstrap, settings.seed)
    write_csv(args.out / "policies.csv", policies)
    write_provenance(provenance.derived(job, files), args.out / "policies.csv")
    write_csv(args.out / "differences.csv", pl.DataFrame(differences, schema=DIFFERENCES))
    write_provenance(provenance.derived(job, [args.scores]), args.out / "differences.csv")
    left_out = settings.left_out | reasons(args.problems, settings.benchmarks)
    write_csv(args.out / "left_out.csv", left_out_rows(args.pair, left_out))
    sets = [args.problems / f"{name}.parquet" for name in settings.benchmarks]
    write_provenance(provenance.derived(job, sets), args.out / "left_out.csv")


if __name__ == "__main__":
    command_line.run(main)
