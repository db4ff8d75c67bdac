"""The large model alone answers the calibration set: what margins are profiled on.

Where the pair has traces already, these are read instead.
"""

from pathlib import Path

from stages.config.settings import Recorded
from stages.engine import models
from stages.generation import asking, imported
from stages.generation.answering import tasks
from stages.generation.traces import table
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import PROMPTS, read_parquet, write_parquet
from stages.tracking.recipes import Job


def main() -> None:
    """Write traces.parquet of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="the calibration set")
    parser.add_argument("--out", type=Path, required=True, help="traces.parquet")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("traces", args)
    settings = job.settings
    if settings.recorded:
        write_recorded(job, settings.recorded, args.out)
        return
    problems = read_parquet(args.problems, PROMPTS)
    todo = tasks(problems, settings.repeats)
    wanted = asking.Wanted(job, settings.method, (), todo)
    asking.ask([wanted], command_line.engine_logs(args.log), f"{job.target}")
    store = asking.answers_store(settings, settings.method, ())
    traces = table(todo, store, models.tokenizer(settings.tokenizer), settings.marks.think_end)
    sessions = (store.session(task.key) for task in todo)
    write_parquet(args.out, traces, provenance.of_answers(job, sessions, args.problems))


def write_recorded(job: Job, recorded: Recorded, out: Path) -> None:
    """Write traces that are there already; no engine is started."""
    file = Path(recorded.path)
    traces = imported.table(file, job.settings.tokenizer, recorded.family)
    write_parquet(out, traces, provenance.derived(job, [file]))


if __name__ == "__main__":
    command_line.run(main)
