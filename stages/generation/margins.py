"""The small model reads each trace once: per token, p(top-1) - p(top-2) (paper section 3.1).

Traces are read, asked about and written in their order, a few at once: memory does not grow with
their number.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from stages.analysis.trace_files import BATCH_ROWS, BUFFER_BYTES
from stages.config.schema import Infer
from stages.engine.client import RequestFailedError
from stages.engine.server import Engine
from stages.generation.asking import connected
from stages.generation.failures import Failures
from stages.generation.store import Key, Store
from stages.runtime.progress import Progress
from stages.tracking.digests import of_value
from stages.tracking.files import Row, atomic

Margins = list[float | None]
SCHEMA = pl.Schema(
    {
        "problem_id": pl.Int64,
        "repeat": pl.Int64,
        "position": pl.Int64,
        "token_id": pl.Int32,
        "token": pl.String,
        "margin": pl.Float64,
        "stage": pl.String,
    }
)
READ = ("problem_id", "repeat", "prompt_ids", "token_ids", "reasoning_tokens")
ROW_GROUP = 100_000  # tokens, at least: whole traces


class Reader(Protocol):
    """Who reads a trace."""

    async def margins(self, token_ids: list[int]) -> Margins:
        """Per token p(top-1) - p(top-2); None for the first."""


def traces_in(path: Path) -> Iterator[Row]:
    """The traces in their order."""
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=list(READ)):
            yield from batch.to_pylist()


def read_ids(trace: Row) -> list[int]:
    """What the small model reads of a trace: the prompt and the reasoning."""
    ids: list[int] = trace["prompt_ids"] + trace["token_ids"][: trace["reasoning_tokens"]]
    return ids


async def profile(
    traces: Iterable[Row], reader: Reader, at_once: int
) -> AsyncIterator[tuple[Row, Margins]]:
    """Yield each trace and its margins, in the traces' order; `at_once`: requests under way.

    Raises UserError at the end if some failed: by then, `reader` has read all others.
    """
    failures, n_done = Failures("margins", "traces"), 0
    asked: deque[tuple[Row, asyncio.Task[Margins]]] = deque()
    waiting = iter(traces)
    try:
        while True:
            for trace in islice(waiting, at_once - len(asked)):
                asked.append((trace, asyncio.create_task(reader.margins(read_ids(trace)))))
            if not asked:
                break
            first, answer = asked.popleft()
            try:
                margins = await answer
            except RequestFailedError as error:
                name = f"problem {first['problem_id']}, repeat {first['repeat']}"
                failures.add(name, error, n_done)
                continue
            n_done += 1
            yield first, margins
    finally:
        for _, answer in asked:
            answer.cancel()
        await asyncio.gather(*(answer for _, answer in asked), return_exceptions=True)
    failures.check(n_done + len(failures.names))


def rows(trace: Row, margins: Margins, piece: Callable[[int], str]) -> pl.DataFrame:
    """A row per token of a trace; position 0 is the prompt's first, which nothing predicts."""
    ids, n_prompt = read_ids(trace), len(trace["prompt_ids"])
    return pl.DataFrame(
        {
            "problem_id": trace["problem_id"],
            "repeat": trace["repeat"],
            "position": range(len(ids)),
            "token_id": ids,
            "token": [piece(i) for i in ids],
            "margin": margins,
            "stage": ["prompt"] * n_prompt + ["reasoning"] * (len(ids) - n_prompt),
        },
        schema=SCHEMA,
    )


async def tables(
    path: Path, reader: Reader, at_once: int, tokenizer: Tokenizer
) -> AsyncIterator[pl.DataFrame]:
    """The rows of each trace in `path`."""

    @cache
    def piece(token_id: int) -> str:
        return tokenizer.decode([token_id], skip_special_tokens=False)

    with Progress("margins", pq.read_metadata(path).num_rows) as progress:
        async for trace, margins in profile(traces_in(path), reader, at_once):
            progress.step(len(margins))
            yield rows(trace, margins, piece)


async def write(path: Path, parts: AsyncIterator[pl.DataFrame], origin: Callable[[], Row]) -> None:
    """Write `parts` to `path` as they come, atomically; whole parts make a row group.

    `origin`: the provenance, known once all are there.
    """
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(temporary, arrow(SCHEMA.to_frame()).schema, compression="zstd") as file,
    ):
        waiting: list[pl.DataFrame] = []
        async for part in parts:
            waiting.append(part)
            if sum(map(len, waiting)) >= ROW_GROUP:
                file.write_table(arrow(pl.concat(waiting)))
                waiting.clear()
        if waiting:
            file.write_table(arrow(pl.concat(waiting)))
        file.add_key_value_metadata({"provenance": json.dumps(origin())})


def arrow(frame: pl.DataFrame) -> pa.Table:
    """Return the frame for pyarrow, in types that every reader of Parquet knows."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def key(ids: list[int]) -> Key:
    """Return what the margins of a trace are kept by, under their recipe."""
    return (of_value(ids),)


def pieces(ids: list[int], longest: int | None) -> list[list[int]]:
    """Return a trace in pieces of at most `longest` tokens, each half of which the next repeats.

    One piece if it is not longer, or if there is no limit.
    """
    if longest is None or len(ids) <= longest:
        return [ids]
    step = longest - longest // 2
    starts = range(0, len(ids) - longest + step, step)
    return [ids[start : start + longest] for start in starts]


@dataclass(frozen=True)
class Kept:
    """Reads traces whose margins are in the store from there, and has `reader` read the others.

    `longest`: tokens that the reader takes at once; None: any number.
    """

    store: Store
    reader: Reader | None
    longest: int | None = None

    async def margins(self, token_ids: list[int]) -> Margins:
        """Return them; of a trace that is read in pieces, of a token in the piece it is new in."""
        found: Margins = []
        for n, piece in enumerate(pieces(token_ids, self.longest)):
            margins = await self._of_piece(piece)
            found += margins[len(found) - n * self._step :] if n else margins
        return found

    @property
    def _step(self) -> int:
        """Return how far a piece begins behind the one before it."""
        return self.longest - self.longest // 2 if self.longest else 0

    async def _of_piece(self, token_ids: list[int]) -> Margins:
        """Return the margins of a piece, and keep those that were not known before."""
        if (at := key(token_ids)) not in self.store:
            assert self.reader, "an engine is started where margins are missing"
            self.store.append(at, {"margins": await self.reader.margins(token_ids)})
        known: Margins = self.store.row(at)["margins"]
        return known


async def measure(
    traces: Path,
    out: Path,
    store: Store,
    engine: Engine | None,
    infer: Infer,
    tokenizer: Tokenizer,
    origin: Callable[[], Row],
    longest: int | None = None,
) -> None:
    """Write the margins of `traces` to `out`; `engine` reads the traces that the store lacks.

    `engine`: None where it lacks none. `origin`: as `write` takes it. `longest`: see `Kept`.
    """
    # Twice as many as the engine takes at once: it never waits for the next.
    at_once = 2 * infer.concurrency
    engines = {"reader": engine} if engine else {}
    async with connected(engines, None, infer) as clients:
        reader = Kept(store, clients.get("reader"), longest)
        await write(out, tables(traces, reader, at_once, tokenizer), origin)


def keys_of(traces: Path, longest: int | None) -> Iterator[Key]:
    """Yield what the margins of all traces are kept by."""
    for trace in traces_in(traces):
        yield from map(key, pieces(read_ids(trace), longest))


def missing(traces: Path, store: Store, longest: int | None = None) -> bool:
    """Return whether the store lacks the margins of any trace."""
    return any(one not in store for one in keys_of(traces, longest))


def sessions(traces: Path, store: Store, longest: int | None = None) -> Iterator[Row]:
    """Yield what ran when the margins of each trace were read."""
    return (store.session(one) for one in keys_of(traces, longest))
