"""What the store holds, and what of it today's recipes still use."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stages.analysis.cue_sets import words_in
from stages.config import selection
from stages.config.schema import Params
from stages.generation.store import STORE, answers_in, folders, size_of
from stages.tracking import recipes
from stages.tracking.files import Row
from stages.tracking.resolving import settings_of
from stages.tracking.targets import Target

# {stage that times answers: the recipe that its measurements are kept by}
MEASURED = {"latency": recipes.latency_recipe, "throughput": recipes.throughput_recipe}


class Kept(NamedTuple):
    """One recipe's folder of the store.

    `used`: its recipe is one of today's, by params, code and models, of any pair of params.yaml.
    """

    folder: Path
    about: str
    answers: int
    bytes: int
    used: bool


def kept(params: Params) -> list[Kept]:
    """Return what the store holds."""
    today = [recipe for pair in params.pairs for recipe in of_pair(params, pair)]
    noted = {folder: read(folder) for folder in folders()}
    return [
        Kept(
            folder,
            about(recipe),
            answers_in(folder),
            size_of(folder),
            used=any(is_one(recipe, one) for one in today),
        )
        for folder, recipe in noted.items()
    ]


def read(folder: Path) -> Row:
    """Return the recipe of what a folder holds."""
    recipe: Row = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    return recipe


def about(recipe: Row) -> str:
    """Return in a few words what answers of a recipe are."""
    if method := recipe.get("method"):
        cues = f", {len(recipe['cues'])} cues" if recipe["cues"] else ""
        engines = ", ".join(recipe["engines"])
        return f"answers: {method['kind']} ({engines}{cues}), budget {recipe['budget']}"
    if methods := recipe.get("methods"):
        kind = "throughput" if "n_problems" in recipe else "latency"
        return f"{kind}: {', '.join(methods)}"
    return f"margins: {', '.join(recipe['engines'])}"


def of_pair(params: Params, pair: str) -> Iterator[Row]:
    """Yield the recipes that answers, margins and measurements of a pair are kept by."""
    for stage in ("traces", "answer_stage"):
        settings = settings_of(params, Target(stage, pair))
        yield recipes.answers_recipe(settings, settings.method, [])
    yield recipes.margins_recipe(settings_of(params, Target("margins", pair)))
    cues = {name: words_of(params, pair, name) for name in params.all_methods}
    for name in params.all_methods:
        if not selection.skip_reason(params, pair, name):
            settings = settings_of(params, Target("infer", pair, name))
            recipe = recipes.answers_recipe(settings, settings.method, cues[name] or ())
            yield recipe | {"cues": cues[name]}
    for stage, recipe_of in MEASURED.items():
        settings = settings_of(params, Target(stage, pair))
        recipe = recipe_of(settings, {name: words or [] for name, words in cues.items()})
        yield recipe | {
            "methods": {name: one | {"cues": cues[name]} for name, one in recipe["methods"].items()}
        }


def words_of(params: Params, pair: str, method: str) -> list[str] | None:
    """Return the words that a method hands over at; None: they are mined, and not here yet."""
    target = Target("cue_set", pair, method)
    file = Path(f"results/{pair}/cue_sets/{method}.yaml")
    words: list[str] | None = settings_of(params, target).cue_words
    return words_in(file) if words is None and file.is_file() else words


def is_one(noted: Any, today: Any) -> bool:
    """Return whether a recipe is today's. Where today's cues are not known, any are."""
    if not isinstance(today, dict) or not isinstance(noted, dict):
        return bool(noted == today)
    return noted.keys() == today.keys() and all(
        (key == "cues" and today[key] is None) or is_one(noted[key], today[key]) for key in today
    )


def remove(unused: Kept) -> None:
    """Remove one recipe's folder: first the note by which it is found."""
    assert unused.folder.is_relative_to(STORE)
    for path in sorted(unused.folder.iterdir(), key=lambda path: path.name != "recipe.yaml"):
        path.unlink()
    unused.folder.rmdir()
