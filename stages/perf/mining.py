"""Cue mining: time and memory against the number of tokens, and against a per-token loop."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from stages.analysis.cue_effects import effects, read_corpus
from stages.analysis.cue_sets import candidates
from stages.config.schema import Cues
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
from stages.perf.per_token_reference import reference
from stages.runtime import command_line

MILLION = 1_000_000
SIZES = (MILLION // 10, MILLION, 10 * MILLION)
REPEATS = 3
RESAMPLES = 1000
TRACE_TOKENS, PROMPT_TOKENS = 10_000, 200
EVERY = 10  # the reference takes minutes for all candidates
FILLER = "the of x is = 1 2 + and we have √ ² know some Ж so that nother because to 10 ( ) whence"


def synthetic(n_tokens: int) -> pl.DataFrame:
    """Return a table like margins.parquet: a cue every 50 tokens, a sentence every 20."""
    random = np.random.default_rng(0)
    words = [f" {word}" for word in FILLER.split()]
    cues = [prefix + cue for cue in candidates() for prefix in ("", " ")]
    shares = ((words, 0.93), ([".", "?", ".\n\n", "\n", ","], 0.05), (cues, 0.02))
    pieces = pl.Series([piece for some, _ in shares for piece in some])
    weights = np.concatenate([np.full(len(some), share / len(some)) for some, share in shares])
    ids = random.choice(len(pieces), size=n_tokens, p=weights / weights.sum())
    trace, position = np.divmod(np.arange(n_tokens), TRACE_TOKENS)
    return pl.DataFrame(
        {
            "problem_id": trace // 4,
            "repeat": trace % 4,
            "position": position,
            "token_id": ids.astype(np.int32),
            "token": pieces.gather(ids),
            "margin": pl.Series(random.random(n_tokens)).set(pl.Series(position == 0), None),
            "stage": pl.Series(["prompt", "reasoning"]).gather(position >= PROMPT_TOKENS),
        }
    )


def make(path: Path, n_tokens: int) -> None:
    """Write such a table."""
    synthetic(n_tokens).write_parquet(path)


def mine(path: Path, resamples: int) -> tuple[float, float]:
    """Return (seconds, peak memory in GB) of all candidates' effects, with reading the file."""
    cues = Cues(min_segments=20, min_delta=0.0, bootstrap=resamples)

    def work() -> None:
        effects(read_corpus(pl.scan_parquet(path), False), candidates(), "boundary", cues, 0)

    return seconds(work), peak_memory()


def loop(path: Path) -> float:
    """Return the seconds that the reference would take for all candidates, without intervals."""
    some = candidates()[::EVERY]
    table = pl.read_parquet(path)
    took = seconds(lambda: reference(table, some, "boundary", include_prompt=False))
    return took * len(candidates()) / len(some)


def measurements(folder: Path) -> list[Measurement]:
    """Return all rows of the table."""
    paths = {n: folder / f"{n}.parquet" for n in SIZES}
    for n, path in paths.items():
        alone(make, path, n)
    memory: list[float] = []

    def timed(n: int, resamples: int) -> float:
        took, peak = alone(mine, paths[n], resamples)
        if n == SIZES[-1]:
            memory.append(peak)
        return took

    sides = {str(n): partial(timed, n, RESAMPLES) for n in SIZES}
    without = {"without": partial(timed, SIZES[-1], 1)}
    found = in_turns({**sides, **without, "loop": partial(loop, paths[MILLION])}, REPEATS)
    tenth, one, ten = (found[str(n)] for n in SIZES)
    n = len(candidates())
    return [
        Measurement(f"effects of {n} candidates, 10 million tokens", "s", ten, "< 10 s"),
        Measurement("the same without intervals", "s", found["without"]),
        Measurement("its peak memory", "GB", memory, "< 2 GB"),
        Measurement("10 million tokens against 1 million", "×", ratios(ten, one), "10 ×"),  # noqa: RUF001
        Measurement("1 million tokens against 0.1 million", "×", ratios(one, tenth), "10 ×"),  # noqa: RUF001
        Measurement(
            f"a per-token loop (of every {EVERY}th candidate, scaled up), 1 million tokens",
            "×",  # noqa: RUF001
            ratios(found["loop"], one),
            "≥ 50 ×",  # noqa: RUF001
        ),
    ]


def main() -> None:
    """Measure, and write the results."""
    args = arguments(__doc__)
    origin = machine()
    with TemporaryDirectory() as folder:
        write(args.out, "Mining", measurements(Path(folder)), origin)


if __name__ == "__main__":
    command_line.run(main)
