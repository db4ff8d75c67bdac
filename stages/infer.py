"""One method answers every benchmark, or one of several jobs its share of the problems.

The answers go into the store; engines are started once, if any answer is missing. Writes a receipt.
"""

import json
from pathlib import Path

from stages.analysis.cue_sets import words_in
from stages.generation import asking
from stages.generation.answers import asked
from stages.problems.availability import available
from stages.runtime import command_line
from stages.tracking import digests, recipes
from stages.tracking.files import write_text
from stages.tracking.frames import PROMPTS, check_parquet


def main() -> None:
    """Have the answers of one share of a pair's benchmarks in the store."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--method", required=True, help="a method under `methods:`")
    parser.add_argument("--part", type=int, default=0, help="which of infer.shards, from 0")
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--cue-set", type=Path, required=True, help="the words it hands over at")
    parser.add_argument("--out", type=Path, required=True, help="the receipt, in JSON")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("infer", args)
    settings, parts = job.settings, job.infer.shards
    names = available(settings.benchmarks, args.problems)
    files = [args.problems / f"{name}.parquet" for name in names]
    for file in files:
        check_parquet(file, PROMPTS)
    todo = asked(files, settings.method.prompt_column, settings.repeats)
    mine = asking.share(todo, args.part, parts)
    part = f"{args.part + 1}of{parts}"
    logs = command_line.engine_logs(args.log)
    cues = words_in(args.cue_set)
    asking.ask(job, settings.method, cues, mine, logs, part)
    store = asking.answers_store(settings, settings.method, cues)
    receipt = {
        "recipe": job.record,
        "inputs": digests.of_files([*files, args.cue_set]),
        "store": str(store.folder),
        "cue_set": str(args.cue_set),
        "answers": len(mine),
    }
    write_text(args.out, json.dumps(receipt) + "\n")


if __name__ == "__main__":
    command_line.run(main)
