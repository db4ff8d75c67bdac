"""What a family of models has in common: its prompts, and what divides its texts.

A family is a file in workflow/reference/families/. A pair names one, or changes some keys of one.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from stages.methods.base import Marks, PromptName
from stages.methods.matching import SEGMENT_ENDS

FOLDER = Path("workflow/reference/families")
USUAL = "default"  # the family that others change, if they name no other
Scoring = Literal["math", "choice"]
Character = Annotated[str, Field(min_length=1, max_length=1)]
Words = Annotated[str, Field(min_length=1)]


class Family(Marks):
    """A family, complete. `segment_ends`: where a cue's segment ends, offline.

    `template_opens`: whether a rendered chat ends with `think_start`; None: it is not checked.
    `candidates`: words that may become cues; None: the published ones; auto: what opens sentences
    in the traces. `estimates`: whose line in workflow/reference/plan.yaml is assumed.
    """

    prompts: dict[PromptName, dict[Scoring, str]]
    template_args: dict[str, Any] = Field(description="of the chat template")
    think_start: Words
    template_opens: bool | None = None
    segment_ends: list[Character] = Field(list(SEGMENT_ENDS), min_length=1)
    candidates: Literal["auto"] | list[Words] | None = None
    estimates: str

    @model_validator(mode="after")
    def complete(self) -> "Family":
        """Every prompt is there, and no sentence end or candidate hides the end of reasoning."""
        for name in get_args(PromptName):
            for scoring in get_args(Scoring):
                if "{problem}" not in self.prompts.get(name, {}).get(scoring, ""):
                    raise ValueError(f"prompts.{name}.{scoring} needs a text with {{problem}}")
        given = self.candidates if isinstance(self.candidates, list) else []
        for key, words in (("sentence_ends", self.sentence_ends), ("candidates", given)):
            if inside := next((word for word in words if word in self.think_end), None):
                raise ValueError(
                    f"{key}: {inside!r} is part of think_end, {self.think_end!r}: a model would "
                    "stop before it is whole"
                )
        return self

    @property
    def marks(self) -> Marks:
        """Return what the machines that write answers need of it."""
        return Marks(**{name: getattr(self, name) for name in Marks.model_fields})


def whole(given: object) -> object:
    """Return a pair's family with what it takes over; ValueError for one that there is not.

    `given`: the name of a family, or keys that differ from those of the family `base`.
    """
    if isinstance(given, str):
        return of_file(given)
    if isinstance(given, dict):
        return merged(of_file(base_of(given)), given)
    return given


@cache
def of_file(name: str) -> dict[str, Any]:
    """Return a family by its name; ValueError, with the file, if it is not valid."""
    path = FOLDER / f"{name}.yaml"
    known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
    if name not in known:
        raise ValueError(f"unknown family '{name}', {FOLDER} has: {', '.join(known)}")
    try:
        content = read(path)
        found = content if name == USUAL else merged(of_file(base_of(content)), content)
        Family.model_validate(found)
    except RecursionError as error:
        raise ValueError(f"{path}: its base leads back to it") from error
    except ValidationError as error:
        first = error.errors()[0]
        what = str(first["msg"]).removeprefix("Value error, ")
        where = ".".join(map(str, first["loc"]))
        raise ValueError(": ".join(filter(None, (str(path), where, what)))) from error
    return found


def read(path: Path) -> dict[str, Any]:
    """Return the keys of a family's file; ValueError if there are none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a family is a block of keys and values")
    return content


def base_of(given: Mapping[str, Any]) -> str:
    """Return the name of the family whose other keys are taken over."""
    return str(given.get("base", USUAL))


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes`, within maps too."""
    found = {key: value for key, value in {**base, **changes}.items() if key != "base"}
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            found[key] = merged(base[key], value)
    return found


AnyFamily = Annotated[Family, BeforeValidator(whole)]
