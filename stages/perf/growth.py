"""Growth of time and memory when the input doubles."""

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
from stages.config.schema import Cues, Params
from stages.engine import models
from stages.engine.replies import margins_in
from stages.generation.margins import Kept, Margins, tables
from stages.generation.margins import write as write_margins
from stages.generation.store import Store
from stages.methods.base import Marks
from stages.methods.offline import replay, setting
from stages.perf import bundled, dag, mining
from stages.perf.harness import (
    Measurement,
    alone,
    arguments,
    in_turns,
    machine,
    peak_memory,
    ratios,
    seconds,
    write,
)
from stages.runtime import command_line
from stages.tracking.files import Row

REPEATS = 3
PROBLEMS, TRACES, CONTEXT, TOKENS, SHARDS = 500, 500, 16_384, 40_000, 8
CANDIDATES = len(candidates()) // 2
TRACE_TOKENS = 1000
TIMES = "×"  # noqa: RUF001


def project() -> Params:
    """Return the project's params."""
    return load(dag.ROOT / "params.yaml")


def tokenizer() -> Tokenizer:
    """Return the bundled pair's tokenizer."""
    return models.tokenizer(project().pair(bundled.PAIR).engines["large"])


def preparing(n: int) -> float:
    """Return the seconds for the prompts of `n` problems."""
    make = partial(bundled.problems, project(), "chains_long")
    make(1)  # imports libraries
    return seconds(partial(make, n))


def scoring(n: int) -> float:
    """Return the seconds to compare `n` final answers by value."""
    problems = pl.DataFrame({"problem_id": range(n), "gold": [str(i) for i in range(n)]})
    answers = pl.DataFrame(
        {
            "problem_id": range(n),
            "repeat": [0] * n,
            "answer_text": [rf"\boxed{{\frac{{{2 * i}}}{{2}}}}" for i in range(n)],
            "finish_reason": ["stop"] * n,
        }
    )
    score(answers.head(1), problems, "math")  # builds the parsers
    return seconds(lambda: score(answers, problems, "math"))


def reply(n: int) -> Row:
    """Return a server's reply about a prompt of `n` tokens."""
    position = {
        str(token): {"logprob": -1.234567890123 * rank, "rank": rank, "decoded_token": None}
        for rank, token in ((1, 1234), (2, 23456), (3, 34567))
    }
    return {"prompt_logprobs": [None, *[position] * (n - 1)]}


def reading(n: int) -> float:
    """Return the seconds from a server's reply to the margins of a trace of `n` tokens."""
    content = orjson.dumps(reply(n))
    # The shortest of a few: other processes easily disturb a tenth of a second.
    return min(seconds(lambda: margins_in(content, n)) for _ in range(5))


class Scripted:
    """A reader without an engine, with a margin of 1 for every token."""

    async def margins(self, token_ids: list[int]) -> Margins:
        """Return the margins of a trace."""
        return [None, *[1.0] * (len(token_ids) - 1)]


def writing(n: int) -> float:
    """Return the seconds to keep and write the margins of `n` traces, without the engine's time."""
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
    """Return the seconds for the effects of all candidates over `n` tokens."""
    return mined(n, len(candidates()))


def mining_candidates(n: int) -> float:
    """Return the seconds for the effects of `n` candidates over a million tokens."""
    return mined(mining.MILLION, n)


def mined(n_tokens: int, n_candidates: int) -> float:
    """Return the seconds for the effects of some candidates over synthetic margins."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "margins.parquet")
        # In another process: its memory does not count as the miner's.
        alone(mining.make, path, n_tokens)
        cues = Cues(min_segments=20, min_delta=0.0, bootstrap=mining.RESAMPLES)
        words = candidates()[:n_candidates]
        return seconds(
            lambda: effects(read_corpus(pl.scan_parquet(path), False), words, "boundary", cues, 0)
        )


def replaying(n: int) -> float:
    """Return the seconds to replay a trace of `n` tokens."""
    bundled_tokenizer = tokenizer()
    words = np.random.default_rng(0).choice([*mining.FILLER.split(), "Thus", "So", ".\n\n"], size=n)
    ids = bundled_tokenizer.encode(" ".join(words), add_special_tokens=False).ids[:n]
    rules = setting(bundled_tokenizer, cue_set("qwen3"), min_tokens=5, marks=Marks())
    return seconds(lambda: replay(ids, bundled_tokenizer, rules))


def planning(n: int) -> float:
    """Return the seconds of `snakemake -n` for the paper's pairs, in `n` shards."""
    with TemporaryDirectory() as name:
        folder = dag.checkout(Path(name))
        infer = project().infer.model_copy(update={"shards": n})
        dag.change(folder, run=dag.PAPER, infer=infer.model_dump())
        return seconds(lambda: dag.run(folder, *dag.PLAN))


@dataclass(frozen=True)
class Doubling:
    """`work` on an input of size `n`, then of twice the size; `memory`: goal for its memory."""

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
    """Return the seconds and peak memory in GB of a process that only does this work."""
    return work(n), peak_memory()


def measurements(doubling: Doubling) -> list[Measurement]:
    """Measure what doubling does to time, and to memory."""
    memory: dict[int, list[float]] = {doubling.n: [], 2 * doubling.n: []}

    def timed(n: int) -> float:
        took, peak = alone(measured, doubling.work, n)
        memory[n].append(peak)
        return took

    found = in_turns({str(n): partial(timed, n) for n in memory}, REPEATS)
    what = f"{doubling.what}, {doubling.n:,} to {2 * doubling.n:,}"
    times = ratios(*reversed(found.values()))
    peaks = ratios(*reversed(memory.values()))
    rows = [
        Measurement(what, TIMES, times, f"≤ 2 {TIMES}"),
        Measurement("its memory, the process's own included", TIMES, peaks, doubling.memory),
    ]
    return rows if doubling.memory else rows[:1]


def main() -> None:
    """Measure, and write the results."""
    args = arguments(__doc__)
    origin = machine()
    write(args.out, "Doubling", list(chain.from_iterable(map(measurements, DOUBLINGS))), origin)


if __name__ == "__main__":
    command_line.run(main)
