"""Margins: tokens per second of the whole pass against the engine reading the same and no more."""

import asyncio
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import polars as pl
from tokenizers import Tokenizer

from demo_pair import task
from stages.config.params import load
from stages.config.schema import Pair, Params
from stages.engine import models, server
from stages.engine.client import Client
from stages.engine.server import Engine
from stages.engine.spec import specs
from stages.generation.margins import Margins, measure, profile, traces_in
from stages.generation.store import Store
from stages.methods.base import Request
from stages.perf.harness import Figure, arguments, in_turns, machine, ratios, seconds, write
from stages.runtime import command_line

REPEATS = 5
N_TOKENS, N_PROMPT = 1500, 100
GOAL = "≥ 80 %"
TRACES = {"small": 96, "large": 16}  # the reader, and one that has more to do for each token


def make(path: Path, tokenizer: Tokenizer, n: int) -> None:
    """Write `n` traces of the bundled task's own text, as the large model learned to write it."""
    random = Random(0)
    solved = [task.completion(random, one) for one in task.problems("train", n * 10, 0)]
    text = tokenizer.encode("\n".join(solved), add_special_tokens=False).ids
    ids = [text[i * N_TOKENS :][:N_TOKENS] for i in range(n)]
    pl.DataFrame(
        {
            "problem_id": range(n),
            "repeat": [0] * n,
            "prompt_ids": [one[:N_PROMPT] for one in ids],
            "token_ids": [one[N_PROMPT:] for one in ids],
            "reasoning_tokens": [N_TOKENS - N_PROMPT] * n,
        }
    ).write_parquet(path)


class Plain:
    """Has the engine read a trace, and give nothing but a token after it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def margins(self, token_ids: list[int]) -> Margins:
        """Nothing."""
        await self.client.complete(Request("any", token_ids, max_tokens=1), seed=0, salt="any")
        return []


async def read_plainly(traces: Path, engine: Engine, params: Params, pair: Pair) -> None:
    """Have the engine read all traces, as many at once as for margins."""
    async with Client(engine, pair.sampling, params.infer) as client:
        async for _ in profile(traces_in(traces), Plain(client), 2 * params.infer.concurrency):
            pass


def rates(folder: Path, role: str) -> dict[str, list[float]]:
    """Tokens per second of one engine: `plain`, and `margins` from traces.parquet to table."""
    params = load(Path("params.yaml"))
    pair = params.pair("demo")
    traces, out = folder / "traces.parquet", folder / "margins.parquet"
    tokenizer = models.tokenizer(pair.engines["large"])
    make(traces, tokenizer, TRACES[role])
    n_tokens = TRACES[role] * N_TOKENS
    stores = (Store(folder / f"store-{role}-{i}") for i in count())  # no pass finds any margins
    wanted = specs(pair, params.engines, (role,), params.infer.concurrency, prefix_caching=False)
    with server.running(wanted, params.engines, folder) as engines:
        engine = engines[role]

        def plain() -> float:
            took = seconds(lambda: asyncio.run(read_plainly(traces, engine, params, pair)))
            return n_tokens / took

        def margins() -> float:
            with next(stores) as store:
                work = measure(traces, out, store, engine, params.infer, tokenizer, dict)
                return n_tokens / seconds(lambda: asyncio.run(work))

        return in_turns({"plain": plain, "margins": margins}, REPEATS, warm_up=True)


def figures(folder: Path) -> list[Figure]:
    """All rows of the table."""
    rows = []
    for role in TRACES:
        found = rates(folder, role)
        share = [100 * one for one in ratios(found["margins"], found["plain"])]
        rows += [
            Figure(f"{role} model: prefill alone", "tokens/s", found["plain"]),
            Figure(f"{role} model: margins into the table", "tokens/s", found["margins"]),
            Figure(f"{role} model: margins against prefill alone", "%", share, GOAL),
        ]
    return rows


def main() -> None:
    """Measure, and write the figures."""
    args = arguments(__doc__)
    origin = machine()
    with TemporaryDirectory() as folder:
        write(args.out, "Margins", figures(Path(folder)), origin)


if __name__ == "__main__":
    command_line.run(main)
