"""Growth: what takes twice as long, or twice the memory, when what it works on doubles."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import orjson
import polars as pl
from tokenizers import Tokenizer

from stages.analysis.cue_effects import effects, read_corpus
from stages.analysis.cue_sets import candidates, cue_set
from stages.analysis.grading import score
from stages.config.params import load
from stages.config.schema import Cues, DemoPair, Params
from stages.engine import models
from stages.engine.client import margins_in
from stages.generation.margins import Kept, Margins, tables
from stages.generation.margins import write as write_margins
from stages.generation.store import Store
from stages.methods.offline import replay, setting
from stages.perf import dag, mining
from stages.perf.harness import (
    Figure,
    alone,
    arguments,
    in_turns,
    machine,
    peak_memory,
    ratios,
    seconds,
    write,
)
from stages.problems.prompts import problem_set
from stages.runtime import command_line
from stages.tracking.files import Row
from stages.tracking.recipes import Target, settings_of

REPEATS = 3
PROBLEMS, TRACES, CONTEXT, TOKENS, SHARDS = 500, 500, 16_384, 40_000, 8
CANDIDATES = len(candidates()) // 2
TRACE_TOKENS = 1000
TIMES = "×"  # noqa: RUF001


def own_params() -> Params:
    """The project's own."""
    return load(dag.ROOT / "params.yaml")


def tokenizer() -> Tokenizer:
    """The bundled pair's."""
    return models.tokenizer(own_params().pair("demo").engines["large"])


def preparing(n: int) -> float:
    """Seconds for the prompts of `n` problems."""
    name = "chains_long"
    settings = settings_of(own_params(), Target("prepare", "demo", name))

    def make(n: int) -> None:
        problems = DemoPair(source="demo_pair", n_problems=n, scoring="math")
        problem_set(name, settings.model_copy(update={"problem_set": problems}))

    make(1)  # imports
    return seconds(partial(make, n))


def scoring(n: int) -> float:
    """Seconds to compare `n` final answers by value."""
    problems = pl.DataFrame({"problem_id": range(n), "gold": [str(i) for i in range(n)]})
    answers = pl.DataFrame(
        {
            "problem_id": range(n),
            "repeat": [0] * n,
            "answer_text": [rf"\boxed{{\frac{{{2 * i}}}{{2}}}}" for i in range(n)],
            "finish_reason": ["stop"] * n,
        }
    )
    score(answers.head(1), problems, "math")  # parsers are built
    return seconds(lambda: score(answers, problems, "math"))


def reply(n: int) -> Row:
    """What a server says about a prompt of `n` tokens."""
    position = {
        str(token): {"logprob": -1.234567890123 * rank, "rank": rank, "decoded_token": None}
        for rank, token in ((1, 1234), (2, 23456), (3, 34567))
    }
    return {"prompt_logprobs": [None, *[position] * (n - 1)]}


def reading(n: int) -> float:
    """Seconds from a server's reply to the margins of a trace of `n` tokens."""
    content = orjson.dumps(reply(n))
    # The shortest of a few: a tenth of a second is easily disturbed.
    return min(seconds(lambda: margins_in(orjson.loads(content))) for _ in range(5))


class Scripted:
    """A reader that is sure of every token."""

    async def margins(self, token_ids: list[int]) -> Margins:
        """Ones."""
        return [None, *[1.0] * (len(token_ids) - 1)]


def writing(n: int) -> float:
    """Seconds to keep the margins of `n` traces and write their table, without the engine's."""
    with TemporaryDirectory() as folder, Store(Path(folder, "store")) as store:
        traces, out = Path(folder, "traces.parquet"), Path(folder, "margins.parquet")
        pl.DataFrame(
            {
                "problem_id": range(n),
                "repeat": [0] * n,
                "prompt_ids": [[*divmod(i, 100), *[5] * 98] for i in range(n)],
                "token_ids": [[6] * (TRACE_TOKENS - 100)] * n,
                "reasoning_tokens": [TRACE_TOKENS - 100] * n,
            }
        ).write_parquet(traces)
        parts = tables(traces, Kept(store, Scripted()), 32, tokenizer())
        return seconds(lambda: asyncio.run(write_margins(out, parts, dict)))


def mining_tokens(n: int) -> float:
    """Seconds for the effects of all candidates over `n` tokens."""
    return mined(n, len(candidates()))


def mining_candidates(n: int) -> float:
    """Seconds for the effects of `n` candidates over a million tokens."""
    return mined(mining.MILLION, n)


def mined(n_tokens: int, n_candidates: int) -> float:
    """Seconds for the effects of some candidates over synthetic margins."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "margins.parquet")
        # In a process of its own: its memory is not the miner's.
        alone(mining.make, path, n_tokens)
        cues = Cues(min_segments=20, min_delta=0.0, bootstrap=mining.RESAMPLES)
        words = candidates()[:n_candidates]
        return seconds(
            lambda: effects(read_corpus(pl.scan_parquet(path), False), words, "boundary", cues, 0)
        )


def replaying(n: int) -> float:
    """Seconds to replay a trace of `n` tokens."""
    pieces = tokenizer()
    words = np.random.default_rng(0).choice([*mining.FILLER.split(), "Thus", "So", ".\n\n"], size=n)
    ids = pieces.encode(" ".join(words), add_special_tokens=False).ids[:n]
    rules = setting(pieces, cue_set("qwen3"), min_tokens=5)
    return seconds(lambda: replay(ids, pieces, rules))


def planning(n: int) -> float:
    """Seconds of `snakemake -n` for the paper's pairs, in `n` shards."""
    with TemporaryDirectory() as name:
        folder = dag.checkout(Path(name))
        infer = own_params().infer.model_copy(update={"shards": n})
        dag.change(folder, run=dag.PAPER, infer=infer.model_dump())
        return seconds(lambda: dag.run(folder, *dag.PLAN))


@dataclass(frozen=True)
class Doubling:
    """`work` on `n` of something and on twice as many; `memory`: what its memory should do."""

    what: str
    work: Callable[[int], float]
    n: int
    memory: str = ""


DOUBLINGS = (
    Doubling("problems: their prompts", preparing, PROBLEMS),
    Doubling("problems or repeats: scoring", scoring, PROBLEMS),
    Doubling("context: margins of a trace, from the server's reply", reading, CONTEXT),
    Doubling("traces: their table of margins", writing, TRACES, memory=f"1 {TIMES}"),
    Doubling("tokens: mining", mining_tokens, mining.MILLION, memory=f"≤ 2 {TIMES}"),
    Doubling("candidates: mining", mining_candidates, CANDIDATES),
    Doubling("context: replay of a trace", replaying, TOKENS),
    Doubling("shards: snakemake -n, both pairs of the paper", planning, SHARDS),
)


def measured(work: Callable[[int], float], n: int) -> tuple[float, float]:
    """Seconds and peak memory in GB, in a process of its own."""
    return work(n), peak_memory()


def rows(doubling: Doubling) -> list[Figure]:
    """What doubling does to time, and to memory."""
    memory: dict[int, list[float]] = {doubling.n: [], 2 * doubling.n: []}

    def timed(n: int) -> float:
        took, peak = alone(measured, doubling.work, n)
        memory[n].append(peak)
        return took

    found = in_turns({str(n): partial(timed, n) for n in memory}, REPEATS)
    what = f"{doubling.what}, {doubling.n:,} to {2 * doubling.n:,}"
    figures = [Figure(what, TIMES, ratios(*reversed(found.values())), f"≤ 2 {TIMES}")]
    if doubling.memory:
        peaks = ratios(*reversed(memory.values()))
        figures.append(
            Figure("its memory, the process's own included", TIMES, peaks, doubling.memory)
        )
    return figures


def main() -> None:
    """Measure, and write the figures."""
    args = arguments(__doc__)
    origin = machine()
    write(args.out, "Doubling", list(chain.from_iterable(map(rows, DOUBLINGS))), origin)


if __name__ == "__main__":
    command_line.run(main)
