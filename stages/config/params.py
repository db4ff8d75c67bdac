"""Read and check params.yaml: a mistake stops everything before the first job, in one line."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stages.config.block import Block
from stages.config.checks import mismatches
from stages.config.schema import Params
from stages.runtime.errors import UserError

# What pydantic says about Python's types, in words about a file.
WORDS = {
    "dict_type": "a map, names to values, is needed",
    "list_type": "a list is needed",
    "model_type": "a block of keys and values is needed",
}

# A default that is worked out from other keys, which are wrong themselves.
FOLLOWS = "default_factory_not_called"


def load(path: Path) -> Params:
    """Read and check params.yaml; one line for all that is wrong with it."""
    content = read(path)
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        found = [dict(item) for item in error.errors() if item["type"] != FOLLOWS]
        problems = "; ".join(described(found))
        raise UserError(f"{path}: {problems}") from error
    if problem := next(mismatches(params), None):
        raise UserError(f"{path}: {problem}")
    return params


def read(path: Path) -> Any:
    """Return the content of params.yaml, by the reader that DVC has: YAML 1.2, no key twice."""
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run from the project's root") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except DuplicateKeyError as error:
        line, found = error.problem_mark.line + 1, re.search('key "(.*?)"', error.problem)
        key = f"the key '{found[1]}'" if found else "a key"
        raise UserError(f"{path}: line {line}: {key} is there twice: remove one") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error}): save it as UTF-8") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{path}: not valid YAML: {where}{error.problem}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def described(errors: Sequence[dict[str, Any]]) -> list[str]:
    """Return pydantic's errors in plain words; a mistake that several blocks share, once.

    Blocks share what they take over from another one, by an anchor.
    """
    places: dict[tuple[str, str], list[str]] = {}
    for item in errors:
        path = [shown(part) for part in without_source(item["loc"])]
        key = path.pop() if path and path[-1] in all_keys() else ""
        places.setdefault((key, message(item)), []).append(".".join(path))
    lines = []
    for (key, what), (first, *others) in places.items():
        where = ".".join(filter(None, (first, key)))
        again = f" (the same in {', '.join(others)})" if others else ""
        lines.append(f"{where}: {what}{again}" if where else f"{what}{again}")
    return lines


def shown(part: int | str) -> str:
    """Return one part of a key's path; what would not be seen, in quotes."""
    text = str(part)
    return text if text and text.isprintable() else repr(text)


def message(item: dict[str, Any]) -> str:
    """Return one pydantic error in plain words, without the key that it is about."""
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(item["loc"][-1]), all_keys(), n=1)
        return "unknown key" + (f", did you mean '{close[0]}'?" if close else "")
    what = WORDS.get(item["type"], str(item["msg"]).removeprefix("Value error, "))
    given = item["input"]
    if item["type"] == "missing" or isinstance(given, dict | list):
        return what
    quotes = ": write it in quotes" if item["type"] == "string_type" and given is not None else ""
    return f"{what} (given: {given!r:.60}){quotes}"


def without_source(path: Sequence[int | str]) -> Sequence[int | str]:
    """A key's path less what pydantic adds to it: a benchmark's source behind its name, [key]."""
    match path:
        case [*above, "[key]"]:
            return above
        case ["pairs", _, "calibration" | "benchmarks", _, _, *below]:
            return [*path[:4], *below]
    return path


def all_keys(block: type[Block] = Block) -> set[str]:
    """Every key of the file, for suggestions."""
    below = (all_keys(kind) for kind in block.__subclasses__())
    return set(block.model_fields).union(*below)
