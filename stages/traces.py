"""The large model alone answers the calibration set: what margins are profiled on."""

from pathlib import Path

from stages.engine import models
from stages.generation import asking
from stages.generation.answering import tasks
from stages.generation.traces import table
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import PROMPTS, read_parquet, write_parquet


def main() -> None:
    """Write traces.parquet of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="the calibration set")
    parser.add_argument("--out", type=Path, required=True, help="traces.parquet")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("traces", args)
    settings = job.settings
    problems = read_parquet(args.problems, PROMPTS)
    todo = tasks(problems, settings.repeats)
    asking.ask(job, settings.method, (), todo, command_line.engine_logs(args.log))
    store = asking.answers_store(settings, settings.method, ())
    traces = table(todo, store, models.tokenizer(settings.tokenizer), settings.marks.think_end)
    sessions = (store.session(task.key) for task in todo)
    write_parquet(args.out, traces, provenance.of_answers(job, sessions, args.problems))


if __name__ == "__main__":
    command_line.run(main)
