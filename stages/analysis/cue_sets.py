"""Cue sets: published, mined, all candidates, or from a file."""

import csv
import reprlib
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml

from stages.methods.matching import CueMatching, CueSet
from stages.problems.cells import encodable
from stages.runtime.errors import UserError
from stages.tracking.files import write_text

REFERENCE = Path("workflow/reference/cues.yaml")


@cache
def reference() -> Any:
    """Return the published cue sets and the candidates."""
    return read_yaml(REFERENCE)


def candidates() -> list[str]:
    """Return the words that may become cues."""
    words: list[str] = reference()["candidates"]
    return words


def cue_words(which: str, published: str | None) -> list[str] | None:
    """Return the words of a pair's choice of cues; None for those that are to be mined.

    `which`: none, mined, all, published or a file. `published`: the paper's pair.
    """
    if which == "mined":
        return None
    if which == "none":
        return []
    return list(cue_set(str(published) if which == "published" else which).cues)


def cue_set(which: str) -> CueSet:
    """Return a published set or all candidates by name, or the cues of a file."""
    if which == "all":
        return CueSet(tuple(candidates()))
    if which in reference()["published"]:
        return CueSet(tuple(reference()["published"][which]), "substring")
    path = Path(which)
    if path.suffix not in (".csv", ".yaml"):
        names = ", ".join(("all", *reference()["published"]))
        raise UserError(f"unknown cue set '{which}': give a .csv or .yaml file, or one of {names}")
    cues = from_csv(path) if path.suffix == ".csv" else from_yaml(path)
    if not cues.cues:
        raise UserError(f"{path}: no cues in it")
    return cues


def from_csv(path: Path) -> CueSet:
    """Return the selected ones of a cues.csv."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        truth = {"true": True, "false": False}
        chosen = [row["cue"] for row in rows if truth[row["selected"].lower()]]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (KeyError, AttributeError, UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(
            f"{path}: not a cues.csv with the columns cue and selected (true or false)"
        ) from error
    return CueSet(checked(chosen, path))


def from_yaml(path: Path) -> CueSet:
    """Return a list of cues, or the cue set of one of the run's methods."""
    content = read_yaml(path)
    if isinstance(content, list):
        return CueSet(checked(content, path))
    try:
        cues, matching = content["cues"], content["matching"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: neither a list of cues nor a method's cue set") from error
    if cues and matching not in get_args(CueMatching):
        known = " or ".join(get_args(CueMatching))
        raise UserError(f"{path}: matching is {reprlib.repr(matching)}, it must be {known}")
    return CueSet(checked(cues, path), matching)


def checked(cues: Any, path: Path) -> tuple[str, ...]:
    """Return cues; UserError unless each is a text that is not blank."""
    if not isinstance(cues, list):
        raise UserError(f"{path}: cues are {reprlib.repr(cues)}, not a list of texts")
    for cue in cues:
        if not isinstance(cue, str) or not cue.strip() or not encodable(cue):
            raise UserError(f"{path}: the cue {reprlib.repr(cue)} is not a text of a word or more")
    return tuple(cues)


def words_in(path: Path) -> list[str]:
    """Return the cues of a method's cue set; none, for a method that hands nothing over."""
    return list(from_yaml(path).cues)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # of dates and numbers that are none
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def write_selected(file: Path, words: list[str], matching: CueMatching) -> None:
    """Write the selected words as a pair's `cues` takes them."""
    content = {"cues": words, "matching": matching}
    write_text(file, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
