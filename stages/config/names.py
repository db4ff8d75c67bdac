"""Names of pairs, methods, engines' roles and problem sets: parts of paths and of commands."""

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

PATTERN = re.compile(r"(?!.*\.$)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
RULE = (
    "a name has up to 64 letters (A to Z), digits, '_', '-' and '.', begins with a letter or digit "
    "and does not end with '.'"
)
# Results and logs of a pair lie in folders of its name, beside these.
RESERVED = ("bench", "excerpts", "figures", "plan", "recipes", "report", "summaries", "tables")


def check(name: str) -> str:
    """Return `name`; ValueError if it is not fit for the name of a file."""
    if not PATTERN.fullmatch(name):
        raise ValueError(RULE)
    return name


def check_pair(name: str) -> str:
    """Return `name`; ValueError if results/ has another use for it."""
    check(name)
    if name.split(".")[0].lower() in RESERVED:
        raise ValueError(
            f"results/ and logs/ use the names {', '.join(RESERVED)}: give the pair another one"
        )
    return name


def alike(names: Iterable[str]) -> tuple[str, str] | None:
    """Return two names that some file systems take for one, for they differ in case alone."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.lower(), name)) != name:
            return other, name
    return None


Name = Annotated[str, AfterValidator(check)]
PairName = Annotated[str, AfterValidator(check_pair)]
