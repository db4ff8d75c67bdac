"""Margins: tokens per second of the whole pass against the engine alone reading the same."""

import asyncio
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import polars as pl

from demo_pair import task
from stages.config.params import load
from stages.config.schema import Pair, Params
from stages.engine import models, server
from stages.engine.client import Client
from stages.engine.server import Engine
from stages.engine.spec import specs
from stages.generation import margins
from stages.generation.margins import Margins, profile, traces_in
from stages.generation.store import Store
from stages.methods.base import Request
from stages.perf import bundled
from stages.perf.harness import Measurement, arguments, in_turns, machine, ratios, seconds, write
from stages.runtime import command_line

REPEATS = 5
N_TOKENS, N_PROMPT = 1500, 100
GOAL = "≥ 80 %"
TRACES = {"small": 96, "large": 16}  # {role: traces}; the large model takes longer per token


def make(path: Path, pair: Pair, n: int) -> None:
    """Write `n` traces of text like that which the large model was trained on."""
    random = Random(0)
    solved = [task.completion(random, one) for one in task.problems("train", n * 10, 0)]
    text = (
        models.tokenizer(pair.engines["large"])
        .encode("\n".join(solved), add_special_tokens=False)
        .ids
    )
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
    """A reader that has the engine read a trace and write one token, without margins."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def margins(self, token_ids: list[int]) -> Margins:
        """Return no margins."""
        await self.client.complete(Request("any", token_ids, max_tokens=1), seed=0, salt="any")
        return []


async def read_plainly(traces: Path, engine: Engine, params: Params, pair: Pair) -> None:
    """Have the engine read all traces, as many at once as the margins' stage."""
    async with Client(engine, pair.sampling, params.infer) as client:
        async for _ in profile(traces_in(traces), Plain(client), 2 * params.infer.concurrency):
            pass


async def read_margins(folder: Path, engine: Engine, params: Params, pair: Pair) -> None:
    """Read margins from traces.parquet to the table, through an empty store, as the stage does."""
    traces, out = folder / "traces.parquet", folder / "margins.parquet"
    tokenizer = models.tokenizer(pair.engines["large"])
    with TemporaryDirectory(dir=folder) as name, Store(Path(name)) as store:
        await margins.measure(traces, out, store, engine, params.infer, tokenizer, dict)


def rates(folder: Path, role: str) -> dict[str, list[float]]:
    """Return the tokens per second of one engine: `plain` reading, and `margins` to the table."""
    params = load(Path("params.yaml"))
    pair = params.pair(bundled.PAIR)
    traces = folder / "traces.parquet"
    make(traces, pair, TRACES[role])
    n_tokens = TRACES[role] * N_TOKENS
    wanted = specs(pair, params.engines, (role,), params.infer.concurrency, prefix_caching=False)
    with server.running(wanted, params.engines, folder) as engines:
        engine = engines[role]

        def plain() -> float:
            took = seconds(lambda: asyncio.run(read_plainly(traces, engine, params, pair)))
            return n_tokens / took

        def whole() -> float:
            took = seconds(lambda: asyncio.run(read_margins(folder, engine, params, pair)))
            return n_tokens / took

        return in_turns({"plain": plain, "margins": whole}, REPEATS, warm_up=True)


def measurements(folder: Path) -> list[Measurement]:
    """Return all rows of the table."""
    rows = []
    for role in TRACES:
        found = rates(folder, role)
        share = [100 * one for one in ratios(found["margins"], found["plain"])]
        rows += [
            Measurement(f"{role} model: prefill alone", "tokens/s", found["plain"]),
            Measurement(f"{role} model: margins into the table", "tokens/s", found["margins"]),
            Measurement(f"{role} model: margins against prefill alone", "%", share, GOAL),
        ]
    return rows


def main() -> None:
    """Measure, and write the results."""
    args = arguments(__doc__)
    origin = machine()
    with TemporaryDirectory() as folder:
        write(args.out, "Margins", measurements(Path(folder)), origin)


if __name__ == "__main__":
    command_line.run(main)
