"""The large model alone answers the calibration set: what margins are profiled on."""

from pathlib import Path

import polars as pl

from stages.config.params import load
from stages.engine import models, server
from stages.generation import answering
from stages.generation.traces import table
from stages.methods.single import Method
from stages.runtime import command_line
from stages.tracking import provenance
from stages.tracking.files import Shard
from stages.tracking.frames import read_parquet, write_parquet


def main() -> None:
    """Write traces.parquet of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="the calibration set")
    parser.add_argument("--out", type=Path, required=True, help="traces.parquet")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    pair = params.pair(args.pair)
    method = Method(kind="single", engine="large", cues="none")
    problems = read_parquet(args.problems)
    specs = server.specs(pair, params.engines, method.roles, params.infer.concurrency)
    origin = provenance.of_answers(params, args.pair, specs, args.problems)
    shard = Shard(provenance.shard_path(args.pair, "traces", origin))
    with server.running(specs, params.engines, command_line.engine_logs(args.log)) as engines:
        asking = answering.Answering(params, pair, method, (), engines)
        kept = asking.collect(answering.tasks(problems, pair.repeats), shard, "traces")
    tokenizer = models.tokenizer(pair)
    rows = pl.DataFrame(kept, infer_schema_length=None)
    write_parquet(args.out, table(rows, problems, tokenizer), provenance.finished(origin))
    shard.remove()


if __name__ == "__main__":
    command_line.run(main)
