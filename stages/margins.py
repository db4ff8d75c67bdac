"""The small model reads each trace once: per token, p(top-1) - p(top-2) (paper section 3.1).

Traces are read, asked about and written in their order, a few at once: memory does not grow with
their number.
"""

import asyncio
from pathlib import Path

from stages.config.params import load
from stages.engine import server
from stages.generation.margins import read_all
from stages.runtime import command_line
from stages.tracking import provenance
from stages.tracking.files import check_file


def main() -> None:
    """Write margins.parquet of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="traces.parquet")
    parser.add_argument("--out", type=Path, required=True, help="margins.parquet")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    pair = params.pair(args.pair)
    check_file(args.traces)
    # Prompt logprobs bypass the prefix cache, and old vLLM versions returned stale ones from it.
    specs = server.specs(
        pair, params.engines, ("small",), params.infer.concurrency, prefix_caching=False
    )
    origin = provenance.of_answers(params, args.pair, specs, args.traces)
    with server.running(specs, params.engines, command_line.engine_logs(args.log)) as engines:
        asyncio.run(read_all(args.traces, engines["small"], params, pair, args.out, origin))


if __name__ == "__main__":
    command_line.run(main)
