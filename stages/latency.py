"""How long answers take: one request at a time, all methods on the same engines (paper Table 3)."""

from pathlib import Path

import polars as pl
import uvloop

from stages.analysis.cue_sets import words_in
from stages.generation import asking, latency
from stages.generation.latency import Turn
from stages.generation.store import Store
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import PROMPTS, check_parquet, write_parquet
from stages.tracking.recipes import Job

Cues = dict[str, list[str]]


def measure(job: Job, cues: Cues, missing: list[Turn], store: Store, logs: Path) -> None:
    """Start the engines of all methods and time the turns that the store lacks."""
    methods = job.settings.methods
    answering = {
        name: asking.answering(job.settings, method, cues[name]) for name, method in methods.items()
    }

    async def run(engines: asking.Engines) -> None:
        async with asking.connected(engines, job.settings.sampling, job.infer) as clients:
            await latency.measure(answering, missing, store, clients)

    wanted = asking.engines_of(job, methods.values(), concurrency=1)
    with asking.running(job, wanted, store, logs) as engines:
        uvloop.run(run(engines))


def main() -> None:
    """Write latency.parquet of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="the benchmark to time")
    parser.add_argument("--cue-sets", type=Path, required=True, help="folder METHOD.yaml")
    parser.add_argument("--out", type=Path, required=True, help="latency.parquet")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("latency", args)
    settings = job.settings
    check_parquet(args.problems, PROMPTS)
    problems = latency.first_problems(args.problems, settings.latency.n_problems)
    files = {name: args.cue_sets / f"{name}.yaml" for name in settings.methods}
    cues = {name: words_in(file) for name, file in files.items()}
    turns = latency.order(settings.methods, problems, settings.latency.runs)
    logs = command_line.engine_logs(args.log)
    with Store.under(
        "latency", recipes.latency_recipe(settings, cues), job.target.checkpoint()
    ) as store:
        if missing := [turn for turn in turns if turn.key not in store]:
            measure(job, cues, missing, store, logs)
        rows = latency.rows(turns, store)
        latency.note_load(rows)
        sessions = (store.session(turn.key) for turn in turns)
        origin = provenance.of_answers(job, sessions, args.problems, *files.values())
    write_parquet(args.out, pl.DataFrame(rows, schema=latency.SCHEMA), origin)


if __name__ == "__main__":
    command_line.run(main)
