"""The small model reads traces: an engine, if the store lacks any, and margins.parquet."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

from stages.engine import models
from stages.engine.spec import specs
from stages.generation import asking, margins
from stages.generation.store import Store
from stages.tracking import provenance, recipes
from stages.tracking.files import Row
from stages.tracking.recipes import Job


def read_traces(job: Job, traces: Path, out: Path, logs: Path) -> None:
    """Write the margins of all tokens of `traces` to `out`; `logs`: of the engine."""
    caching = recipes.MARGINS_PREFIX_CACHING
    wanted = specs(job.settings, job.engines, ("small",), job.infer.concurrency, caching)
    store = Store.under("margins", recipes.margins_recipe(job.settings), job.target.checkpoint())
    longest = job.settings.max_model_len - 1  # a request writes a token, too

    def origin() -> Row:
        return provenance.of_answers(job, margins.sessions(traces, store, longest), traces)

    with store, ExitStack() as stack:
        engine = None
        if margins.missing(traces, store, longest):
            engine = stack.enter_context(asking.running(job, wanted, store, logs))["small"]
        tokenizer = models.tokenizer(job.settings.tokenizer)
        work = margins.measure(traces, out, store, engine, job.infer, tokenizer, origin, longest)
        asyncio.run(work)
