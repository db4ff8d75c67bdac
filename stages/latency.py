"""How long answers take: one request at a time, all methods on the same engines (paper Table 3).

Every problem is asked `runs` times. Methods take turns problem by problem, each run in another
order, so that a slow minute hits all alike. A short request per engine comes first and is not
counted. What other work used of the machine meanwhile is recorded with every answer.
"""

import itertools
from pathlib import Path

import polars as pl
import uvloop

from stages import recipe
from stages.config.params import load
from stages.engine import server
from stages.generation.answering import Answering
from stages.generation.latency import SCHEMA, first_problems, measure, note_load
from stages.runtime import command_line
from stages.tracking import provenance
from stages.tracking.files import Shard
from stages.tracking.frames import write_parquet


def main() -> None:
    """Write latency.parquet of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="the benchmark to time")
    parser.add_argument("--recipes", type=Path, required=True, help="folder METHOD.yaml")
    parser.add_argument("--out", type=Path, required=True, help="latency.parquet")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    pair, methods = params.pair(args.pair), params.methods_of(args.pair)
    problems = first_problems(args.problems, params.latency.n_problems)
    cues = {name: tuple(recipe.read(args.recipes / f"{name}.yaml")["cues"]) for name in methods}
    roles = tuple(itertools.chain.from_iterable(m.roles for m in methods.values()))
    specs = server.specs(pair, params.engines, roles, concurrency=1)
    lines = {name: method.model_dump() for name, method in methods.items()}
    handoff = {name: params.handoff(pair, method) for name, method in methods.items()}
    origin = provenance.of_answers(
        params, args.pair, specs, args.problems, methods=lines, cues=cues, handoff=handoff,
        latency=params.latency.model_dump(),
    )  # fmt: skip
    shard = Shard(provenance.shard_path(args.pair, "latency", origin))
    with server.running(specs, params.engines, command_line.engine_logs(args.log)) as engines:
        asking = {
            name: Answering(params, pair, method, cues[name], engines)
            for name, method in methods.items()
        }
        rows = uvloop.run(measure(asking, problems, params.latency.runs, shard))
    note_load(rows)
    write_parquet(args.out, pl.DataFrame(rows, schema=SCHEMA), provenance.finished(origin))
    shard.remove()


if __name__ == "__main__":
    command_line.run(main)
