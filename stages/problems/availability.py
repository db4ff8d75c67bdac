"""Benchmarks that this account may not read: a run goes on without them, and says so.

Such a problem set has no rows; why is noted in its metadata.
"""

from collections.abc import Iterable
from pathlib import Path

from stages.runtime.errors import UserError
from stages.tracking.files import check_file
from stages.tracking.notes import read_provenance

LEFT_OUT = "left_out"  # key in the metadata of a problem set that could not be read


def reasons(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return {problem set: why it is left out} of those that could not be read."""
    return {name: reason for name in names if (reason := left_out(folder / f"{name}.parquet"))}


def left_out(problem_set: Path) -> str | None:
    """Return why a problem set is left out; None if it is not."""
    check_file(problem_set)
    reason: str | None = read_provenance(problem_set).get(LEFT_OUT)
    return reason


def available(benchmarks: Iterable[str], folder: Path) -> list[str]:
    """Return `benchmarks` without those that are left out; UserError if none remains."""
    wanted = list(benchmarks)
    missing = reasons(folder, wanted)
    kept = [name for name in wanted if name not in missing]
    if not kept:
        raise UserError(f"{folder}: left out, and nothing else to do: {', '.join(wanted)}")
    return kept
