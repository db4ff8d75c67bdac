"""One pair's rows of cue_ablation.csv: the relay and its variants on one benchmark."""

from pathlib import Path

import polars as pl

from stages.analysis.accuracy import accuracy_row
from stages.analysis.grading import score
from stages.generation.answers import check_complete
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import ANSWERS, GOLD, read_parquet, write_csv
from stages.tracking.notes import write_provenance

COLUMNS = (
    "pair", "cue_set", "benchmark", "pass_at_1", "ci_low", "ci_high", "large_utilization",
    "cut_percent", "no_answer_percent", "n_problems", "n_repeats",
)  # fmt: skip


def main() -> None:
    """Write cue_ablation.csv of one pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--generations", type=Path, required=True, help="folder METHOD/BENCHMARK")
    parser.add_argument("--out", type=Path, required=True, help="cue_ablation.csv")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("ablation", args)
    settings = job.settings
    name = settings.ablation_benchmark
    files = [args.problems / f"{name}.parquet"]
    problems = read_parquet(files[0], GOLD)
    rows = []
    for method in ("relaygen", *settings.variant_names):
        path = args.generations / method / f"{name}.parquet"
        files.append(path)
        answers = read_parquet(path, ANSWERS)
        check_complete(answers, problems, settings.repeats, path)
        scores = score(answers, problems, settings.scoring[name])
        row = accuracy_row(scores, answers, settings.bootstrap, settings.seed)
        rows.append({"pair": args.pair, "cue_set": method, "benchmark": name, **row})
    write_csv(args.out, pl.DataFrame(rows).select(COLUMNS))
    write_provenance(provenance.derived(job, files), args.out)


if __name__ == "__main__":
    command_line.run(main)
