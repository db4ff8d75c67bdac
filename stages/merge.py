"""The answers of a method, put together from the store: a table per benchmark."""

import json
from pathlib import Path

from stages.generation.answers import asked, check_complete, table
from stages.generation.store import Store
from stages.problems.availability import available
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.files import Row, check_file, write_text
from stages.tracking.frames import GOLD, read_parquet, write_parquet
from stages.tracking.notes import write_provenance
from stages.tracking.recipes import Job


def read(receipt: Path) -> Row:
    """Return the receipt of a job that asked for answers."""
    check_file(receipt)
    content: Row = json.loads(receipt.read_text(encoding="utf-8"))
    return content


def write(job: Job, problems: Path, receipts: list[Row], out: Path) -> None:
    """Write one benchmark's answers."""
    settings, (receipt, *_) = job.settings, receipts
    store = Store(Path(receipt["store"]))
    todo = asked([problems], settings.prompt_column, settings.repeats)
    answers = table(todo, store)
    check_complete(answers, read_parquet(problems, GOLD), settings.repeats, out)
    sessions = (store.session(task.key) for task in todo)
    files = (problems, Path(receipt["cue_set"]))
    origin = provenance.of_answers(job, sessions, *files, asked_by=receipt["recipe"])
    write_parquet(out, answers, origin)


def main() -> None:
    """Write METHOD/BENCHMARK.parquet, or why the pair goes without the method."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--method", required=True, help="a method under `methods:`")
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--receipts", type=Path, nargs="*", default=[], help="of the infer jobs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the answers")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("merge", args)
    if reason := job.settings.skip_reason:
        note = args.out / "left_out.txt"
        write_text(note, f"{reason}\n")
        write_provenance(provenance.derived(job, []), note)
        return
    receipts = [read(path) for path in args.receipts]
    for name in available(job.settings.benchmarks, args.problems):
        write(job, args.problems / f"{name}.parquet", receipts, args.out / f"{name}.parquet")


if __name__ == "__main__":
    command_line.run(main)
