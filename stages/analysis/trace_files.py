"""Read traces from a file one at a time, so that memory does not grow with the file."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from stages.runtime.errors import UserError
from stages.tracking.files import Row

BATCH_ROWS = 16
BUFFER_BYTES = 1 << 20  # otherwise pyarrow keeps a whole row group in memory


@dataclass(frozen=True)
class Trace:
    """All tokens that one model wrote for a problem. `where`: file and line or row.

    `problem`: its problem_id; without one, the number of its line or row.
    """

    where: str
    problem: str | int
    ids: list[int]


def read(path: Path, tokenizer: Tokenizer) -> Iterator[Trace]:
    """Yield the traces of a .jsonl or .parquet file, in order; UserError if it is not valid."""
    readers: dict[str, Callable[[Path, Tokenizer], Iterator[Trace]]] = {
        ".jsonl": read_jsonl,
        ".parquet": read_parquet,
    }
    if path.suffix not in readers:
        raise UserError(f"{path}: not a trace file; give one that ends in .parquet or .jsonl")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    n = 0
    for trace in readers[path.suffix](path, tokenizer):
        n += 1
        yield trace
    if not n:
        raise UserError(f"{path}: holds no trace")


def read_jsonl(path: Path, tokenizer: Tokenizer) -> Iterator[Trace]:
    """Yield a trace per line: an object with `text` and, optionally, `problem_id`."""
    with path.open("rb") as lines:
        for n, line in enumerate(lines, start=1):
            if line.strip():
                row = parse(line, where := f"{path}, line {n}")
                yield Trace(where, problem(row, n), encode(row["text"], tokenizer, where))


def parse(line: bytes, where: str) -> Row:
    """Return a line's object; UserError if it is not one."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON ({error}); correct or remove the line") from error
    if not isinstance(row, dict) or "text" not in row:
        raise UserError(f"{where}: no key 'text'; each line is an object with the trace under it")
    return row


def read_parquet(path: Path, tokenizer: Tokenizer) -> Iterator[Trace]:
    """Yield a trace per row, with `token_ids` as in the pipeline's own tables, or with `text`."""
    try:
        table = pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file; remove it and make it again") from error
    with table:
        names = set(table.schema_arrow.names)
        column = next((name for name in ("token_ids", "text") if name in names), None)
        if column is None:
            raise UserError(f"{path}: no column 'token_ids' or 'text'; are these traces?")
        columns = [column, *({"problem_id"} & names)]
        n = 0
        for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            for row in batch.to_pylist():
                n += 1
                where, value = f"{path}, row {n}", row[column]
                convert = encode if column == "text" else checked
                yield Trace(where, problem(row, n), convert(value, tokenizer, where))


def problem(row: Row, n: int) -> str | int:
    """Return a row's problem_id; `n`, its number, without one."""
    given = row.get("problem_id")
    return n if given is None else str(given)


def encode(text: Any, tokenizer: Tokenizer, where: str) -> list[int]:
    """Return a text's tokens."""
    try:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)
    except TypeError as error:
        raise UserError(f"{where}: 'text' is not a text of whole Unicode characters") from error


def checked(ids: list[int] | None, tokenizer: Tokenizer, where: str) -> list[int]:
    """Return token ids; UserError if one is not in the tokenizer."""
    for token in set(ids or []):
        if tokenizer.id_to_token(token) is None:
            raise UserError(f"{where}: token {token} is not in the tokenizer; give the traces' own")
    return ids or []
