"""Which results are out of date, and why: the recipe and the inputs that each was made from.

What a result was made from is noted with it. It is out of date if today's recipe of its stage is
another one, if one of its input files has changed, or if it was changed itself.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stages.config.schema import Params
from stages.runtime.errors import UserError
from stages.tracking import digests, recipes
from stages.tracking.files import Row
from stages.tracking.memory import Memory
from stages.tracking.notes import note_beside, read_provenance
from stages.tracking.targets import STAGES, Target

RESULTS = Path("results")
# A method's answers are one output of their rule: a folder in this one.
ANSWERS = "generations"
# What jobs that asked for answers leave until these are put together.
RECEIPTS = "*/receipts/*/*.json"
NOTE = ".provenance.json"
UNKNOWN = "it does not say what it was made from, or was changed since"
TIMESTAMP = ".snakemake_timestamp"  # whose time counts as that of a folder


class Result(NamedTuple):
    """A file under results/ and its inputs. `why`: what is out of date about it."""

    path: Path
    target: Target | None
    inputs: list[str]
    why: list[str]

    @property
    def output(self) -> Path:
        """The output of the rule that makes it."""
        return self.path.parent if self.path.parts[-3:-2] == (ANSWERS,) else self.path


def results(params: Params) -> Iterator[Result]:
    """Yield every result on disk that belongs to this run; write its recipes."""
    yield from compared(recipes.write_all(params))


def compared(today: dict[Target, Row]) -> Iterator[Result]:
    """Yield every result on disk that belongs to the run of today's recipes."""
    memory = Memory("records")
    for path in sorted(made()):
        record = memory.of(path, summary, note_beside(path))
        yield check(path, record, today)
    memory.save()


def made() -> Iterator[Path]:
    """Yield the results on disk that say what they were made from."""
    yield from RESULTS.rglob("*.parquet")
    yield from RESULTS.glob(RECEIPTS)
    for note in RESULTS.rglob(f"*{NOTE}"):
        beside = note.parent.glob(f"{note.name.removesuffix(NOTE)}.*")
        # A name may have dots: v1.1.yaml is not a result of v1.
        yield from (
            path for path in beside if note_beside(path) == note and not path.name.endswith(NOTE)
        )


def summary(path: Path) -> Row:
    """Return of a result's provenance what tells whether it is up to date."""
    try:
        receipt = path.suffix == ".json" and path.match(RECEIPTS)
        origin = json.loads(path.read_text(encoding="utf-8")) if receipt else read_provenance(path)
    except (UserError, ValueError):  # damaged
        origin = {}
    records = [origin[key] for key in ("asked_by", "recipe") if key in origin]
    return {"records": records, "inputs": origin.get("inputs", {})}


def check(path: Path, record: Row, today: dict[Target, Row]) -> Result:
    """Return a result with what is out of date about it."""
    if not record["records"]:
        return Result(path, None, [], [UNKNOWN])
    target = Target(*record["records"][-1]["target"])
    why = [
        line
        for one in record["records"]
        if Target(*one["target"]) in today
        for line in recipes.differences(one["content"], today[Target(*one["target"])])
    ]
    if target not in today:
        return Result(path, None, [], [])
    return Result(path, target, list(record["inputs"]), [*why, *changed(record["inputs"])])


def changed(inputs: dict[str, str]) -> list[str]:
    """Return which input files are not there, or not as they were."""
    there = {name: Path(name) for name in inputs if Path(name).is_file()}
    found = digests.of_files(there.values())
    return [
        f"{name}: {'changed' if name in there else 'removed'}"
        for name, digest in inputs.items()
        if found.get(name) != digest
    ]


def stale(params: Params) -> list[Result]:
    """Return the results of this run that are out of date."""
    return [result for result in results(params) if result.why]


def to_force(params: Params) -> list[str]:
    """Return the outputs of rules that Snakemake is to make again, whatever their times say.

    The others get the times of up-to-date files: Snakemake would make again what is older than its
    inputs, as it may be after a checkout.
    """
    found = list(results(params))
    order = {stage: i for i, stage in enumerate(STAGES)}
    for result in sorted(found, key=lambda one: order[one.target.stage] if one.target else -1):
        if result.target and not result.why:
            set_time(result)
    return list(dict.fromkeys(str(result.output) for result in found if result.why))


def set_time(result: Result) -> None:
    """Make a result no older than what it was made from."""
    inputs = [path for name in result.inputs if (path := Path(name)).exists()]
    newest = max((path.stat().st_mtime_ns for path in inputs), default=0)
    for path in (result.path, result.output, result.output / TIMESTAMP):
        if path.exists() and path.stat().st_mtime_ns < newest:
            os.utime(path, ns=(newest, newest))


def reasons(found: list[Result]) -> dict[str, list[str]]:
    """Return {what is out of date: why}, a stage's files together."""
    lines: dict[str, list[str]] = {}
    for result in found:
        name = str(result.target) if result.target else str(result.path)
        lines.setdefault(name, []).extend(why for why in result.why)
    return {name: list(dict.fromkeys(whys)) for name, whys in lines.items()}
