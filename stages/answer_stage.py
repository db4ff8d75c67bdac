"""Does it matter who writes the answer stage? (paper section 4: 99.86 % of answers stay the same)

The small model writes the answer stage behind the large model's own reasoning; its final answer is
compared with the large model's, whether right or wrong.
"""

from pathlib import Path

import polars as pl

from stages.analysis.answer_stage import SMALL, consistency, tasks
from stages.config.params import load
from stages.engine import server
from stages.generation.answering import Answering
from stages.problems.availability import available
from stages.runtime import command_line
from stages.tracking import provenance
from stages.tracking.files import Shard
from stages.tracking.frames import read_parquet, write_csv
from stages.tracking.notes import write_provenance


def main() -> None:
    """Write answer_stage.csv of one pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--large", type=Path, required=True, help="folder of its answers")
    parser.add_argument("--out", type=Path, required=True, help="answer_stage.csv")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    pair = params.pair(args.pair)
    specs = server.specs(pair, params.engines, SMALL.roles, params.infer.concurrency)
    rows, shards, files = [], [], []
    with server.running(specs, params.engines, command_line.engine_logs(args.log)) as engines:
        asking = Answering(params, pair, SMALL, (), engines)
        for name in available(pair.benchmarks, args.problems):
            file = args.large / f"{name}.parquet"
            files.append(file)
            origin = provenance.of_answers(params, args.pair, specs, file)
            shards.append(Shard(provenance.shard_path(args.pair, f"answer_stage-{name}", origin)))
            large = read_parquet(file)
            todo = tasks(large, read_parquet(args.problems / f"{name}.parquet"))
            kept = asking.collect(todo, shards[-1], f"answer stage {name}")
            small = pl.DataFrame(kept, infer_schema_length=None)
            figures = consistency(large, small, pair.benchmarks[name])
            rows.append({"pair": args.pair, "benchmark": name, **figures})
    write_csv(args.out, pl.DataFrame(rows))
    origin = provenance.of_answers(params, args.pair, specs, *files)
    write_provenance(provenance.finished(origin), args.out)
    for shard in shards:
        shard.remove()


if __name__ == "__main__":
    command_line.run(main)
