"""Benchmarks that a run goes without: noted beside the problem sets, left out by later stages."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from stages.runtime.errors import UserError
from stages.tracking.files import write_text

NOTE = "unavailable.yaml"


def note(folder: Path, reasons: Mapping[str, str]) -> None:
    """Write {benchmark: why it is left out} into the folder of the problem sets."""
    write_text(folder / NOTE, yaml.safe_dump(dict(reasons), allow_unicode=True, width=1000))


def left_out(folder: Path) -> dict[str, str]:
    """What `note` wrote."""
    file = folder / NOTE
    if not file.is_file():
        raise UserError(f"{file}: no such file; the prepare stage makes it")
    reasons: dict[str, str] = yaml.safe_load(file.read_text())
    return reasons


def available(benchmarks: Iterable[str], folder: Path) -> list[str]:
    """`benchmarks` less what is left out; an error if that leaves none."""
    wanted, missing = list(benchmarks), left_out(folder)
    kept = [name for name in wanted if name not in missing]
    if not kept:
        raise UserError(f"{folder / NOTE}: left out, and nothing else to do: {', '.join(wanted)}")
    return kept
