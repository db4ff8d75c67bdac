"""The small model reads each trace once: per token, p(top-1) - p(top-2) (paper section 3.1)."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

from stages.engine import models
from stages.engine.spec import specs
from stages.generation import asking, margins
from stages.generation.store import Store
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.files import Row
from stages.tracking.frames import TRACES, check_parquet


def main() -> None:
    """Write margins.parquet of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="traces.parquet")
    parser.add_argument("--out", type=Path, required=True, help="margins.parquet")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("margins", args)
    check_parquet(args.traces, TRACES)
    caching = recipes.MARGINS_PREFIX_CACHING
    wanted = specs(job.settings, job.engines, ("small",), job.infer.concurrency, caching)
    store = Store.under("margins", recipes.margins_recipe(job.settings), job.target.checkpoint())
    logs = command_line.engine_logs(args.log)

    def origin() -> Row:
        return provenance.of_answers(job, margins.sessions(args.traces, store), args.traces)

    with store, ExitStack() as stack:
        engine = None
        if margins.missing(args.traces, store):
            engine = stack.enter_context(asking.running(job, wanted, store, logs))["small"]
        tokenizer = models.tokenizer(job.settings.tokenizer)
        asyncio.run(
            margins.measure(args.traces, args.out, store, engine, job.infer, tokenizer, origin)
        )


if __name__ == "__main__":
    command_line.run(main)
