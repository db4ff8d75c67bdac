"""Read traces from a file one at a time, so that memory does not grow with the file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from stages.problems import cells
from stages.runtime.errors import UserError
from stages.tracking import jsonl
from stages.tracking.files import Row

BATCH_ROWS = 16
BUFFER_BYTES = 1 << 20  # otherwise pyarrow keeps a whole row group in memory
MAX_TOKEN = 2**32


@dataclass(frozen=True)
class Trace:
    """All tokens that one model wrote for a problem. `where`: file and line or row.

    `problem`: its problem_id; without one, the number of its line or row.
    """

    where: str
    problem: str | int
    ids: list[int]


def read(path: Path, tokenizer: Tokenizer) -> Iterator[Trace]:
    """Yield the traces of a .jsonl or .parquet file, in order; UserError if it is not valid.

    A row has `token_ids`, as in the pipeline's own tables, or `text`, and it may have `problem_id`.
    If it has both, they must agree: with another model's tokenizer they do not.
    """
    readers: dict[str, Callable[[Path], Iterator[tuple[int, str, Row]]]] = {
        ".jsonl": read_jsonl,
        ".parquet": read_parquet,
    }
    if path.suffix not in readers:
        raise UserError(f"{path}: not a trace file; give one that ends in .parquet or .jsonl")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    number = None
    for number, where, row in readers[path.suffix](path):
        yield Trace(where, problem(row, number, where), ids_of(row, tokenizer, where))
    if number is None:
        raise UserError(f"{path}: holds no trace")


def read_jsonl(path: Path) -> Iterator[tuple[int, str, Row]]:
    """Yield the number of each line, where it is, and its object."""
    for number, where, row in jsonl.read(path, "line"):
        if not {"text", "token_ids"} & set(row):
            raise UserError(
                f"{where}: no key 'text'; each line is an object with the trace under it"
            )
        yield number, where, row


def read_parquet(path: Path) -> Iterator[tuple[int, str, Row]]:
    """Yield the number of each row, where it is, and its columns."""
    number = 0
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES) as table:
            names = set(table.schema_arrow.names)
            if not {"token_ids", "text"} & names:
                raise UserError(f"{path}: no column 'token_ids' or 'text'; are these traces?")
            columns = names & {"problem_id", "token_ids", "text", "answer_text"}
            for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=sorted(columns)):
                for row in batch.to_pylist():
                    number += 1
                    yield number, f"{path}, row {number}", row
    except (pa.ArrowException, OSError, ValueError) as error:
        what = f"damaged behind row {number}" if number else "not a Parquet file"
        raise UserError(f"{path}: {what}; remove it and make it again") from error


def problem(row: Row, number: int, where: str) -> str | int:
    """Return a row's problem_id; its own number without one. 1.0 is the same problem as 1."""
    given = row.get("problem_id")
    if given is None:
        return number
    if isinstance(given, str) and cells.encodable(given):
        return given
    try:
        whole = not isinstance(given, bool) and given == int(given)
    except (TypeError, ValueError, OverflowError):
        whole = False
    return str(cells.problem_id(int(given) if whole else given, where))


def ids_of(row: Row, tokenizer: Tokenizer, where: str) -> list[int]:
    """Return a row's tokens, as given or those of its text."""
    if "token_ids" not in row:
        return encode(row["text"], tokenizer, where)
    ids = checked(row["token_ids"], tokenizer, where)
    for name in ("text", "answer_text"):
        if not agree(row.get(name), ids, tokenizer):
            raise UserError(
                f"{where}: '{name}' is not what its token_ids say; give the tokenizer of the model "
                "that wrote it"
            )
    return ids


def encode(text: Any, tokenizer: Tokenizer, where: str) -> list[int]:
    """Return a text's tokens."""
    if not isinstance(text, str) or not cells.encodable(text):
        raise UserError(f"{where}: 'text' is not a text of whole Unicode characters")
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def checked(ids: Any, tokenizer: Tokenizer, where: str) -> list[int]:
    """Return token ids, none for None; UserError if one is not in the tokenizer."""
    if not isinstance(ids, list | None):
        raise UserError(f"{where}: token_ids {cells.shown(ids)} are not a list")
    for token in ids or []:
        if type(token) is not int:
            raise UserError(f"{where}: token {cells.shown(token)} is not a whole number")
    for token in set(ids or []):
        if not 0 <= token < MAX_TOKEN or tokenizer.id_to_token(token) is None:
            raise UserError(
                f"{where}: token {cells.shown(token)} is not in the tokenizer; give the traces' own"
            )
    return ids or []


def agree(text: Any, ids: list[int], tokenizer: Tokenizer) -> bool:
    """Return whether token ids hold a text, if there is one; special tokens may be left out."""
    if not isinstance(text, str) or not text.strip():
        return True
    return any(
        text.strip() in tokenizer.decode(ids, skip_special_tokens=skipped)
        for skipped in (False, True)
    )
