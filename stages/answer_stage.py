"""Does it matter who writes the answer stage? (paper section 4: 99.86 % of answers stay the same)

The small model writes the answer stage behind the large model's own reasoning.
"""

from pathlib import Path

import polars as pl

from stages.analysis.answer_stage import consistency, tasks
from stages.generation import asking
from stages.generation.answers import table
from stages.problems.availability import available
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import ANSWERS, PROMPTS, read_parquet, write_csv
from stages.tracking.notes import write_provenance


def main() -> None:
    """Write answer_stage.csv of one pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--large", type=Path, required=True, help="folder of its answers")
    parser.add_argument("--out", type=Path, required=True, help="answer_stage.csv")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("answer_stage", args)
    settings = job.settings
    files = {
        name: args.large / f"{name}.parquet"
        for name in available(settings.benchmarks, args.problems)
    }
    large = {name: read_parquet(file, ANSWERS) for name, file in files.items()}
    todo = {
        name: tasks(answers, read_parquet(args.problems / f"{name}.parquet", PROMPTS))
        for name, answers in large.items()
    }
    every = [task for some in todo.values() for task in some]
    wanted = asking.Wanted(job, settings.method, (), every)
    asking.ask([wanted], command_line.engine_logs(args.log), f"{job.target}")
    store = asking.answers_store(settings, settings.method, ())
    rows = [
        {
            "pair": args.pair,
            "benchmark": name,
            **consistency(large[name], table(todo[name], store), settings.scoring[name]),
        }
        for name in files
    ]
    write_csv(args.out, pl.DataFrame(rows))
    sessions = (store.session(task.key) for task in every)
    write_provenance(provenance.of_answers(job, sessions, *files.values()), args.out)


if __name__ == "__main__":
    command_line.run(main)
