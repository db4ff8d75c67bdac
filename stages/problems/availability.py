"""Benchmarks that a run leaves out: noted beside the problem sets, skipped by later stages."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from stages.runtime.errors import UserError
from stages.tracking.files import write_text
from stages.tracking.notes import read_provenance

NOTE = "unavailable.yaml"
LEFT_OUT = "left_out"  # key in the metadata of a problem set that could not be read


def note(folder: Path, reasons: Mapping[str, str]) -> None:
    """Write {benchmark: why it is left out} into the folder of the problem sets."""
    write_text(folder / NOTE, yaml.safe_dump(dict(reasons), allow_unicode=True, width=1000))


def reasons(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return {problem set: why it is left out} of those that could not be read."""
    origins = {name: read_provenance(folder / f"{name}.parquet") for name in names}
    return {name: origin[LEFT_OUT] for name, origin in origins.items() if LEFT_OUT in origin}


def left_out(folder: Path) -> dict[str, str]:
    """Return {benchmark: why it is left out} as `note` wrote it."""
    file = folder / NOTE
    if not file.is_file():
        raise UserError(f"{file}: no such file; the availability stage makes it")
    reasons: dict[str, str] = yaml.safe_load(file.read_text())
    return reasons


def available(benchmarks: Iterable[str], folder: Path) -> list[str]:
    """Return `benchmarks` without those that are left out; UserError if none remains."""
    wanted, missing = list(benchmarks), left_out(folder)
    kept = [name for name in wanted if name not in missing]
    if not kept:
        raise UserError(f"{folder / NOTE}: left out, and nothing else to do: {', '.join(wanted)}")
    return kept
