"""Families: files, and what a pair changes of them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from stages.config import families
from stages.config.families import FOLDER, AnyFamily, Family
from stages.config.params import load
from stages.methods.base import Marks
from stages.tracking.recipes import answers_recipe
from stages.tracking.resolving import settings_of
from stages.tracking.targets import Target
from tests.unit.conftest import forget, params_with

pytestmark = pytest.mark.unit


class Holder(BaseModel):
    """A block with a family."""

    family: AnyFamily


def family(given: Any) -> Family:
    """The family that a pair gives."""
    return Holder.model_validate({"family": given}).family


@pytest.fixture
def files(own_folder: Path) -> Path:
    """A folder with the default family alone."""
    text = (Path(__file__).parents[2] / FOLDER / "default.yaml").read_text(encoding="utf-8")
    (own_folder / FOLDER).mkdir(parents=True)
    (own_folder / FOLDER / "default.yaml").write_text(text, encoding="utf-8")
    forget()
    return own_folder / FOLDER


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.yaml")))
def test_every_family_is_valid_and_has_prompts_for_what_its_models_do_not_know(name: str) -> None:
    found = family(name)
    assert found.think_end == Marks().think_end or all(
        found.think_end in words for words in found.prompts["plain"].values()
    )


def test_the_papers_families_end_their_texts_as_published() -> None:
    assert [family(name).marks for name in ("demo", "qwen3", "r1")] == [Marks()] * 3


def test_a_pair_may_change_one_key_of_a_family() -> None:
    changed = family({"base": "r1", "think_end": "</reasoning>"})
    assert changed.think_end == "</reasoning>"
    assert changed.model_copy(update={"think_end": "</think>"}) == family("r1")


def test_what_gives_no_base_changes_the_default_family() -> None:
    assert family({"segment_ends": ["。"]}).prompts == family("default").prompts


def test_a_single_prompt_can_be_changed() -> None:
    words = "{problem} In one word."
    changed = family({"prompts": {"plain": {"choice": words}}})
    assert changed.prompts["plain"] == {
        **family("default").prompts["plain"],
        "choice": words,
    }
    assert changed.prompts["steps"] == family("default").prompts["steps"]


def test_a_new_family_is_a_new_file(files: Path) -> None:
    (files / "new.yaml").write_text("think_end: '[END]'\n", encoding="utf-8")
    (files / "newer.yaml").write_text("base: new\ncandidates: [Okay so]\n", encoding="utf-8")
    assert family("newer").think_end == "[END]"
    assert family("newer").candidates == ["Okay so"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("qwen", "unknown family 'qwen', .*families has: default, demo, qwen3, r1, untagged"),
        ("../../params", "unknown family"),
        ({"base": "qwen"}, "unknown family 'qwen'"),
        ({"think_ends": "x"}, "think_ends"),
        ({"prompts": {"plain": {"math": "Think."}}}, r"prompts\.plain\.math needs a text with"),
        ({"prompts": {"plain": {"proof": "{problem}"}}}, r"prompts\.plain\.proof"),
        ({"segment_ends": ["\n\n"]}, "at most 1 character"),
        ({"think_end": ""}, "at least 1 character"),
        ({"think_end": "\n\nAnswer"}, r"sentence_ends: '\\n\\n' is part of think_end"),
        ({"think_end": "So it is", "candidates": ["So"]}, "candidates: 'So' is part of think_end"),
    ],
)
def test_a_family_that_cannot_be_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        family(given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("think_end: 7\n", r"families/bad\.yaml: think_end: Input should be a valid string"),
        ("think_end: [\n", r"families/bad\.yaml: not valid YAML"),
        ("[]\n", r"families/bad\.yaml: a family is a block of keys"),
        ("base: bad\n", r"families/bad\.yaml: its base leads back to it"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_the_file(files: Path, text: str, message: str) -> None:
    (files / "bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValidationError, match=message):
        family("bad")


def test_answers_are_kept_by_marks_that_differ_from_the_published_ones() -> None:
    def kept(given: Any) -> dict[str, Any]:
        settings = settings_of(
            params_with("pairs.demo.family", given), Target("infer", "demo", "relaygen")
        )
        return answers_recipe(settings, settings.method, [])

    usual, changed = kept("demo"), kept({"base": "demo", "sentence_ends": ["。"]})
    assert "sentence_ends" not in usual
    assert changed == usual | {"sentence_ends": ["。"]}


def test_no_code_knows_a_family_by_its_name() -> None:
    names = {file.stem for file in families.FOLDER.glob("*.yaml")} - {families.USUAL, "demo"}
    code = [*Path("stages").glob("*/*.py"), *Path("stages").glob("*.py")]
    texts = [file.read_text(encoding="utf-8") for file in code if file.parent.name != "perf"]
    assert not [name for name in names for text in texts if f'"{name}"' in text]


def test_the_papers_pairs_name_their_families() -> None:
    params = load(Path("params.yaml"))
    written = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["pairs"]
    for name in ("demo", "qwen3", "r1"):
        assert params.pair(name).family == family(written[name]["family"])
