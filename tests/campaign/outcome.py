"""What a run has left, against what an undisturbed one leaves."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import polars as pl

from tests import scripted
from tests.end_to_end.conftest import STORE, Row, whole_lines

# Text that does not depend on how long anything took.
FILES = (
    "results/demo/problems/tokenizer.json",
    "results/demo/cues.csv",
    "results/demo/selected_cues.yaml",
    "results/demo/cue_sets/*.yaml",
    "results/demo/replay.json",
    "results/summaries/demo/accuracy.csv",
    "results/summaries/demo/differences.csv",
    "results/summaries/demo/left_out.csv",
    "results/summaries/demo/cue_ablation.csv",
    "results/summaries/demo/answer_stage.csv",
    *(f"results/tables/{name}.*" for name in ("accuracy", "cue_ablation", "answer_stage")),
)
PARQUET = ("results/demo/**/*.parquet",)
TIMES = ("wall_s", "segments", "cached_tokens", "other_load")  # depend on the run
WARM_UP = "warm-up"
# Empty folders: torch makes one per user, Snakemake one per run, which stays where that is killed.
EXPECTED = ("torchinductor_", "snakemake")


def problems(folder: Path, temporary: Path, whole: Path) -> Iterator[str]:
    """What is wrong with a run that has ended well; `whole`: an undisturbed one."""
    yield from other_results(folder, whole)
    yield from asked_again(folder, whole)
    yield from kept_twice(folder)
    yield from left_behind(folder, temporary)


def left_behind(folder: Path, temporary: Path) -> Iterator[str]:
    """The temporary files that are still there, and locks that bar the way."""
    folders = [one for one in temporary.iterdir() if not one.name.startswith(EXPECTED)]
    files = [one for one in temporary.rglob("*") if not one.is_dir()]
    for left in (*folders, *files, *folder.glob("*/**/.*.tmp"), *folder.glob(".snakemake/locks/*")):
        yield f"left behind: {left}"


def other_results(folder: Path, whole: Path) -> Iterator[str]:
    """The results that differ from an undisturbed run's."""
    for name in names(whole, FILES):
        if not same_bytes(folder / name, whole / name):
            yield f"{name} differs"
    for name in names(whole, PARQUET):
        if not same_rows(folder / name, whole / name):
            yield f"{name} differs"


def names(whole: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The results of a kind, less notes of where they came from."""
    found = [file.relative_to(whole) for pattern in patterns for file in whole.glob(pattern)]
    assert len(found) >= len(patterns)
    return [name for name in found if not name.name.endswith(".provenance.json")]


def same_bytes(one: Path, other: Path) -> bool:
    """Whether two files are equal."""
    return one.exists() and one.read_bytes() == other.read_bytes()


def same_rows(one: Path, other: Path) -> bool:
    """Whether two tables are equal but for what depends on the run."""
    return one.exists() and timeless(one).equals(timeless(other))


def timeless(file: Path) -> pl.DataFrame:
    """A table without times; of segments, their tokens and cues are left."""
    table = pl.read_parquet(file)
    if "segments" in table:
        parts = pl.element().struct.field("model", "stage", "n_tokens", "cue")
        table = table.with_columns(who_wrote=pl.col("segments").list.eval(pl.struct(parts)))
    return table.drop(TIMES, strict=False)


def asked_again(folder: Path, whole: Path) -> Iterator[str]:
    """The requests that were sent more often than can be, by how often they were in flight."""
    wanted, sent = (Counter(map(json.dumps, map(shape, asked(one)))) for one in (whole, folder))
    cut = in_flight(folder)
    for request, n in sent.items():
        if n > wanted[request] + cut[answer_of(json.loads(request))]:
            yield f"asked {n} times for {request}"


def in_flight(folder: Path) -> Counter[str]:
    """How often an answer may have been in flight as a server ended: the last that it got.

    Answers are asked for one at a time, margins two (`stages.generation.margins`).
    """
    of_server: dict[int, list[str]] = {}
    for line in asked(folder):
        last = of_server.setdefault(line["server"], [])
        others = [one for one in last if one != answer_of(line)]
        last[:] = [*others, answer_of(line)][-2 if line["margins"] else -1 :]
    return Counter(chain.from_iterable(of_server.values()))


def asked(folder: Path) -> list[Row]:
    """What servers were asked for, less what warms them up.

    What a server is asked for again is a request that had failed there.
    """
    lines = map(json.dumps, scripted.requests(folder / "requests.jsonl"))
    return [line for line in map(json.loads, dict.fromkeys(lines)) if line["salt"] != WARM_UP]


def shape(request: Row) -> Row:
    """A request without the server that it went to."""
    return {key: value for key, value in request.items() if key != "server"}


def answer_of(request: Row) -> str:
    """Whose request it is: an answer's, or a trace's whose margins are asked for."""
    return f"{request['salt'] or request['prompt_tokens']}"


def kept_twice(folder: Path) -> Iterator[str]:
    """The answers that the store holds more than once."""
    for recipe in (folder / STORE).glob("*/*"):
        lines = [line for file in recipe.glob("*.jsonl") for line in whole_lines(file)]
        keys = Counter(tuple(line["key"]) for line in lines if "key" in line)
        yield from (f"{recipe}: {n} times {key}" for key, n in keys.items() if n > 1)
