"""How many answers a minute each method gives under load, and how long each answer takes.

Beside the methods is the large model on as much hardware as a method takes.
"""

from pathlib import Path

import polars as pl
import uvloop

from stages.analysis.cue_sets import words_in
from stages.config.contenders import contenders, together
from stages.engine.client import RequestFailedError
from stages.engine.spec import replicated
from stages.generation import asking, throughput
from stages.generation.store import Store
from stages.generation.throughput import Level
from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.tracking import provenance, recipes
from stages.tracking.frames import PROMPTS, read_parquet, write_parquet
from stages.tracking.recipes import Job

Cues = dict[str, list[str]]


def measure(job: Job, cues: Cues, missing: list[Level], store: Store, logs: Path) -> None:
    """Start the engines of contenders that share them, and measure the levels that are missing."""
    settings, most = job.settings, max(job.settings.throughput.in_flight)
    asked = {level.contender.method: settings.methods[level.contender.method] for level in missing}
    each = asking.engines_of(job, asked.values(), most)
    wanted = replicated(each, missing[0].contender.replicas)
    held = throughput.hardware(wanted)
    answering = {
        name: asking.answering(settings, method, cues[name])
        for name, method in settings.methods.items()
    }

    async def run(engines: asking.Engines) -> None:
        sampling = settings.sampling
        async with asking.connected(engines, sampling, job.infer) as clients:
            await throughput.measure(answering, missing, store, clients, sampling, held)

    try:
        with asking.running(job, wanted, store, logs) as engines:
            uvloop.run(run(engines))
    except RequestFailedError as error:
        raise UserError(
            f"throughput: {error}; what was measured before is kept: run again to go on"
        ) from error


def main() -> None:
    """Write throughput.parquet of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="the benchmark to answer")
    parser.add_argument("--cue-sets", type=Path, required=True, help="folder METHOD.yaml")
    parser.add_argument("--out", type=Path, required=True, help="throughput.parquet")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("throughput", args)
    settings, logs = job.settings, command_line.engine_logs(args.log)
    about, methods = settings.throughput, settings.methods
    problems = read_parquet(args.problems, PROMPTS).head(about.n_problems)
    files = {name: args.cue_sets / f"{name}.yaml" for name in methods}
    cues = {name: words_in(file) for name, file in files.items()}
    found = contenders(methods, settings.engines)
    levels = throughput.levels(found, methods, problems, about.in_flight)
    recipe = recipes.throughput_recipe(settings, cues)
    with Store.under("throughput", recipe, job.target.checkpoint()) as store:
        for group in together(found):
            of_group = [level for level in levels if level.contender in group]
            if missing := [level for level in of_group if level.key not in store]:
                measure(job, cues, missing, store, logs)
        table = pl.DataFrame(list(throughput.rows(levels, store)), throughput.SCHEMA)
        sessions = (store.session(level.key) for level in levels)
        origin = provenance.of_answers(job, sessions, args.problems, *files.values())
    write_parquet(args.out, table, origin)


if __name__ == "__main__":
    command_line.run(main)
