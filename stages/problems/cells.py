"""Cells of problem sets as text: texts, whole numbers and finite ones; others are refused."""

import reprlib
import sys
from decimal import Decimal
from typing import Any

from stages.runtime.errors import UserError

MAX_DIGITS = 1_000  # of a whole number
MAX_ID = 2**63


def text(value: Any, where: str, column: str) -> str:
    """Return a cell as text without blanks around it, nothing as an empty one; 27.0 is 27.

    UserError, with `where` and the column, for what is neither text nor a number.
    """
    at = f"{where}, column '{column}'"
    if value is None:
        return ""
    if isinstance(value, str):
        if not encodable(value):
            raise UserError(f"{at}: half a character (a lone surrogate)")
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise UserError(f"{at}: {shown(value)} is neither text nor a number")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise UserError(f"{at}: {number} is not a finite number")
    largest = MAX_DIGITS if isinstance(value, int) else sys.float_info.max_10_exp
    if abs(number.adjusted()) > largest:
        raise UserError(f"{at}: {number:.1E} is beyond the numbers that can be read")
    return written_out(number)


def encodable(value: str) -> bool:
    """Return whether a text holds whole Unicode characters alone."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def written_out(number: Decimal) -> str:
    """Return a number without an exponent and without zeros behind it: 0.00001, not 1e-05."""
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if number else "0"


def problem_id(value: Any, where: str) -> int:
    """Return an id; UserError unless it is a whole number of 64 bits. 1.0 is refused, not 1."""
    if type(value) is not int:
        raise UserError(f"{where}: problem_id {shown(value)} is not a whole number")
    if not -MAX_ID <= value < MAX_ID:
        raise UserError(f"{where}: problem_id {shown(value)} does not fit into 64 bits")
    return value


def shown(value: Any) -> str:
    """Return a value as it is shown in an error: numbers as written, long ones shortened."""
    return str(value)[:40] if isinstance(value, Decimal) else reprlib.repr(value)
