"""A method's recipe says what its answers depend on, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from stages import recipe
from stages.config.params import load
from stages.config.schema import Model
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))
PAIR = PARAMS.pair("demo")


def of(name: str, **changes: Any) -> dict[str, Any]:
    pair, method = PAIR.model_copy(update=changes), PARAMS.method(name)
    return recipe.recipe(pair, method, ["Thus"], PARAMS.handoff(pair, method))


def test_it_names_the_cues_the_models_and_the_sampling() -> None:
    content = of("relaygen_eagle3")
    assert content["cues"] == ["Thus"]
    assert list(content["engines"]) == ["eagle3", "small"]
    assert content["pair"]["sampling"] == PAIR.sampling.model_dump()


def test_it_does_not_change_when_an_engine_is_added_beside_the_methods_own() -> None:
    more = {**PAIR.engines, "other": Model(model="demo_pair/small")}
    assert of("relaygen", engines=more) == of("relaygen")


def test_it_does_not_change_when_a_kind_of_method_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = of("relaygen")
    for module in recipe.METHODS.glob("*.py"):
        (tmp_path / module.name).write_bytes(module.read_bytes())
    (tmp_path / "other.py").write_text("")
    monkeypatch.setattr(recipe, "METHODS", tmp_path)
    assert of("relaygen") == before


@pytest.mark.parametrize("module", ["relay", "base", "matching"])
def test_it_changes_with_the_methods_code(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = of("relaygen")["code"]
    for file in recipe.METHODS.glob("*.py"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / f"{module}.py").write_text("changed")
    monkeypatch.setattr(recipe, "METHODS", tmp_path)
    assert of("relaygen")["code"] != before


def test_it_changes_with_the_hand_off_where_there_is_one() -> None:
    released = PAIR.as_released.model_copy(update={"handoff": True})
    assert of("relaygen", as_released=released) != of("relaygen")
    assert of("large", as_released=released) == of("large")


def test_it_changes_with_a_models_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    engines = {**PAIR.engines, "small": Model(model=str(tmp_path))}
    before = of("small", engines=engines)
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert of("small", engines=engines) != before


def test_the_cues_are_mined_published_all_candidates_or_a_files(tmp_path: Path) -> None:
    effects = tmp_path / "cues.csv"
    effects.write_text("cue,selected\nThus,true\nWait,false\n")
    own = tmp_path / "own.yaml"
    own.write_text("[Hence]")
    assert recipe.choose("none", PAIR, effects) == []
    assert recipe.choose("mined", PAIR, effects) == ["Thus"]
    assert recipe.choose("all", PAIR, effects) == ["Thus", "Wait"]
    assert recipe.choose(str(own), PAIR, effects) == ["Hence"]
    published = recipe.choose("published", PARAMS.pair("qwen3"), effects)
    assert len(published) == 28
    assert "Thus" in published


def test_a_cue_set_that_there_is_not_is_named() -> None:
    with pytest.raises(UserError, match="unknown cue set 'best': give a"):
        recipe.choose("best", PAIR, Path("cues.csv"))
