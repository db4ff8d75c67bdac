"""Read JSONL files a line at a time; a mistake is named with its line."""

import codecs
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from stages.runtime.errors import UserError
from stages.tracking.files import Row


def read(path: Path, word: str) -> Iterator[tuple[int, str, Row]]:
    """Yield (number from 1, "FILE, WORD NUMBER", object) of every line that is not blank.

    `word`: what a line is called. Numbers with a fraction or an exponent are Decimals, as written.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if line.strip():
                    where = f"{path}, {word} {number}"
                    yield number, where, parse(line, where)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def parse(line: bytes, where: str) -> Row:
    """Return a line's object; UserError if it is not one."""
    try:
        row = json.loads(
            line.decode(), parse_float=Decimal, object_pairs_hook=lambda pairs: once(pairs, where)
        )
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 text ({error})") from error
    except RecursionError as error:
        raise UserError(f"{where}: nested too deeply") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not valid JSON ({error}); correct or remove the line") from error
    except ValueError as error:
        raise UserError(f"{where}: a number of thousands of digits") from error
    if not isinstance(row, dict):
        raise UserError(f"{where}: not a JSON object")
    return row


def once(pairs: list[tuple[str, Any]], where: str) -> Row:
    """Return an object; UserError if one of its keys stands twice."""
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"{where}: the key {twice!r} stands twice")
    return row
