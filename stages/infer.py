"""One method answers every benchmark, or one of several jobs its share of the problems.

The answers go into the store; engines are started once, if any answer is missing. Writes a receipt.
"""

import json
from pathlib import Path

from stages.generation import asking, benchmarks
from stages.runtime import command_line
from stages.tracking import digests, recipes
from stages.tracking.files import write_text


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
    files = benchmarks.files_of(job, args.problems)
    wanted = benchmarks.wanted(job, files, args.cue_set, args.part)
    label = benchmarks.label(f"{job.target}", job.infer.shards, args.part)
    asking.ask([wanted], command_line.engine_logs(args.log), label)
    receipt = {
        "recipe": job.record,
        "inputs": digests.of_files([*files, args.cue_set]),
        "store": str(asking.answers_store(job.settings, wanted.method, wanted.cues).folder),
        "cue_set": str(args.cue_set),
        "answers": len(wanted.todo),
    }
    write_text(args.out, json.dumps(receipt) + "\n")


if __name__ == "__main__":
    command_line.run(main)
