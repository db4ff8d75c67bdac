"""Cue sets: published, mined, all candidates, or a file's."""

from pathlib import Path
from typing import Any

import polars as pl
import yaml

from stages.analysis.cue_effects import REFERENCE
from stages.methods.matching import CueSet
from stages.runtime.errors import UserError


def mined(effects: Path) -> list[str]:
    """The selected ones of a cues.csv."""
    return pl.read_csv(effects).filter("selected")["cue"].to_list()


def cue_set(which: str) -> CueSet:
    """A published set or all candidates by name, else the cues of a file."""
    reference = read_yaml(REFERENCE)
    if which == "all":
        return CueSet(tuple(reference["candidates"]))
    if which in reference["published"]:
        return CueSet(tuple(reference["published"][which]), "substring")
    path = Path(which)
    if path.suffix not in (".csv", ".yaml"):
        names = ", ".join(("all", *reference["published"]))
        raise UserError(f"unknown cue set '{which}': give a .csv or .yaml file, or one of {names}")
    cues = from_csv(path) if path.suffix == ".csv" else from_yaml(path)
    if not cues.cues or not all(isinstance(cue, str) and cue for cue in cues.cues):
        raise UserError(f"{path}: no cues in it, or one that is not a text")
    return cues


def from_csv(path: Path) -> CueSet:
    """The selected ones of a cues.csv."""
    try:
        return CueSet(tuple(mined(path)))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise UserError(f"{path}: not a cues.csv with the columns cue and selected") from error


def from_yaml(path: Path) -> CueSet:
    """A list of cues, or a relay's recipe with its own matching."""
    content = read_yaml(path)
    if isinstance(content, list):
        return CueSet(tuple(content))
    try:
        method, pair, cues = content["method"], content["pair"], content["cues"]
        return CueSet(tuple(cues), method["cue_matching"] or pair["cue_matching"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: neither a list of cues nor a relay's recipe") from error


def read_yaml(path: Path) -> Any:
    """The content of a YAML file."""
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
