"""Final answers against gold: math by math-verify, multiple choice by letter.

A missing *row* is an error: a run with holes is not scored as if it were complete.
"""

from pathlib import Path

import polars as pl

from stages.analysis.grading import SCHEMA, score, without_final
from stages.generation.answers import check_complete
from stages.problems.availability import available
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import ANSWERS, GOLD, read_parquet, write_parquet


def main() -> None:
    """Write scores.parquet of a pair: every method, every benchmark."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--generations", type=Path, required=True, help="folder METHOD/BENCHMARK")
    parser.add_argument("--out", type=Path, required=True, help="scores.parquet")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("score", args)
    settings = job.settings
    frames, n_cut = [], 0
    # Those, too, that are left out today.
    files = [args.problems / f"{name}.parquet" for name in settings.scoring]
    for method in settings.method_names:
        for name in available(settings.scoring, args.problems):
            path = args.generations / method / f"{name}.parquet"
            files.append(path)
            problems = read_parquet(args.problems / f"{name}.parquet", GOLD)
            answers = read_parquet(path, ANSWERS)
            check_complete(answers, problems, settings.repeats, path)
            n_cut += int((answers["finish_reason"] == "length").sum())
            scores = score(answers, problems, settings.scoring[name])
            frames.append(scores.with_columns(method=pl.lit(method), benchmark=pl.lit(name)))
    table = pl.concat([frame.select(list(SCHEMA)) for frame in frames])
    if line := without_final(table, n_cut):
        command_line.warn(line)
    write_parquet(args.out, table, provenance.derived(job, files))


if __name__ == "__main__":
    command_line.run(main)
