"""One method answers every benchmark, or one of several jobs its part of the problems.

Engines are started once and serve all benchmarks.
"""

from pathlib import Path

import polars as pl

from stages import recipe
from stages.config.params import load
from stages.engine import server
from stages.generation import answering
from stages.generation.answers import SCHEMA
from stages.problems.availability import available
from stages.runtime import command_line
from stages.tracking import provenance
from stages.tracking.files import Shard
from stages.tracking.frames import read_parquet, write_parquet


def main() -> None:
    """Write BENCHMARK.parquet for every benchmark of a pair: one part of the problems."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--method", required=True, help="a method under `methods:`")
    parser.add_argument("--part", type=int, default=0, help="which of infer.shards, from 0")
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--recipe", type=Path, required=True, help="what the method depends on")
    parser.add_argument("--out", type=Path, required=True, help="folder for the answers")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    pair, method = params.pair(args.pair), params.method(args.method)
    cues = tuple(recipe.read(args.recipe)["cues"])
    specs = server.specs(pair, params.engines, method.roles, params.infer.concurrency)
    handoff = params.handoff(pair, method)
    lines = {"method": method.model_dump(), "cues": cues, "handoff": handoff}
    files = {
        name: args.problems / f"{name}.parquet"
        for name in available(params.benchmarks_of(args.pair, args.method), args.problems)
    }
    origins = {
        name: provenance.of_answers(params, args.pair, specs, file, **lines)
        for name, file in files.items()
    }
    part = f"{args.part + 1}of{params.infer.shards}"
    shards = {
        name: Shard(provenance.shard_path(args.pair, f"{args.method}-{name}-{part}", origin))
        for name, origin in origins.items()
    }
    kept = {}
    with server.running(specs, params.engines, command_line.engine_logs(args.log)) as engines:
        asking = answering.Answering(params, pair, method, cues, engines)
        for name, shard in shards.items():
            problems = read_parquet(files[name]).gather_every(params.infer.shards, args.part)
            todo = answering.tasks(problems, pair.repeats, method.prompt_column)
            kept[name] = asking.collect(todo, shard, label=f"{args.method} {name}")
    for name, rows in kept.items():
        table = pl.DataFrame(rows, schema=SCHEMA).sort("problem_id", "repeat")
        write_parquet(args.out / f"{name}.parquet", table, provenance.finished(origins[name]))
    for shard in shards.values():
        shard.remove()


if __name__ == "__main__":
    command_line.run(main)
