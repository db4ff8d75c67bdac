"""What the store holds, and what of it today's recipes still use."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from stages.analysis.cue_sets import words_in
from stages.config import selection
from stages.config.schema import Params
from stages.generation.store import STORE, Store, answers_in, folders, size_of
from stages.tracking import recipes
from stages.tracking.files import Row
from stages.tracking.recipes import job_of
from stages.tracking.targets import Target


class Kept(NamedTuple):
    """One recipe's folder of the store. `used`: today's params, code and models make its recipe."""

    folder: Path
    about: str
    answers: int
    bytes: int
    used: bool


def kept(params: Params) -> list[Kept]:
    """Return what the store holds."""
    used = set(in_use(params))
    return [
        Kept(folder, about(folder), answers_in(folder), size_of(folder), folder in used)
        for folder in folders()
    ]


def about(folder: Path) -> str:
    """Return in a few words what a folder's answers are."""
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    if method := recipe.get("method"):
        cues = f", {len(recipe['cues'])} cues" if recipe["cues"] else ""
        engines = ", ".join(recipe["engines"])
        return f"answers: {method['kind']} ({engines}{cues}), budget {recipe['budget']}"
    if methods := recipe.get("methods"):
        return f"latency: {', '.join(methods)}"
    return f"margins: {', '.join(recipe['engines'])}"


def in_use(params: Params) -> Iterator[Path]:
    """Yield the folders that today's recipes use, as far as the cues are known."""
    for pair in params.run:
        yield from of_pair(params, pair)


def of_pair(params: Params, pair: str) -> Iterator[Path]:
    """Yield the folders of one pair."""
    for stage in ("traces", "answer_stage"):
        settings = job_of(params, Target(stage, pair)).settings
        yield folder("answers", recipes.answers_recipe(settings, settings.method, []))
    yield folder(
        "margins", recipes.margins_recipe(job_of(params, Target("margins", pair)).settings)
    )
    files = {name: Path(f"results/{pair}/cue_sets/{name}.yaml") for name in params.all_methods}
    cues = {name: words_in(file) for name, file in files.items() if file.is_file()}
    for name, words in cues.items():
        if not selection.skip_reason(params, pair, name):
            settings = job_of(params, Target("infer", pair, name)).settings
            yield folder("answers", recipes.answers_recipe(settings, settings.method, words))
    settings = job_of(params, Target("latency", pair)).settings
    if set(settings.methods) <= set(cues):
        yield folder("latency", recipes.latency_recipe(settings, cues))


def folder(kind: str, recipe: Row) -> Path:
    """Return where what is made under a recipe is kept."""
    return Store.under(kind, recipe).folder


def remove(unused: Kept) -> None:
    """Remove one recipe's folder: first the note by which it is found."""
    assert unused.folder.is_relative_to(STORE)
    for path in sorted(unused.folder.iterdir(), key=lambda path: path.name != "recipe.yaml"):
        path.unlink()
    unused.folder.rmdir()
