"""What of the store today's recipes use: it stays; all else can be removed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from stages.config.params import load
from stages.config.schema import Params
from stages.generation.store import Store
from stages.generation.trimming import Kept, kept
from stages.runtime import one_run
from stages.runtime.main import app
from stages.tracking import recipes
from stages.tracking.files import write_text
from stages.tracking.resolving import settings_of
from stages.tracking.targets import Target
from tests.unit.conftest import edited, params_with

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("project")]


@pytest.fixture(autouse=True)
def empty(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty store, no cues mined, and commands that work on the copy of the project."""
    monkeypatch.setattr("stages.runtime.main.check_checkout", lambda: None)
    yield
    for name in ("results", "store"):
        shutil.rmtree(project / name, ignore_errors=True)


def demo() -> Params:
    return load(Path("params.yaml"))


def mined(*words: str, method: str = "relaygen") -> None:
    """The cue set of a method, as its stage would write it."""
    content = {"cues": list(words), "matching": "boundary"}
    write_text(Path(f"results/demo/cue_sets/{method}.yaml"), yaml.safe_dump(content))


def fill(method: str, *words: str, pair: str = "demo", params: Params | None = None) -> Path:
    """An answer of a method, kept in the store; where it lies."""
    settings = settings_of(params or demo(), Target("infer", pair, method))
    recipe = recipes.answers_recipe(settings, settings.method, list(words))
    with Store.under("answers", recipe) as store:
        store.append(("p", "0"), {"answer_text": ""})
    return store.folder


def fill_latency(**cues: list[str]) -> Path:
    settings = settings_of(demo(), Target("latency", "demo"))
    words = {name: cues.get(name, []) for name in settings.methods}
    with Store.under("latency", recipes.latency_recipe(settings, words)) as store:
        store.append(("large", "p", "0"), {"wall_s": 1.0})
    return store.folder


def found(params: Params | None = None) -> dict[Path, Kept]:
    return {one.folder: one for one in kept(params or demo())}


def used(folder: Path, params: Params | None = None) -> bool:
    return found(params)[folder].used


def test_an_empty_store_holds_nothing() -> None:
    assert kept(demo()) == []


def test_what_it_holds_is_counted_and_said_in_a_few_words() -> None:
    mined("Thus", "So")
    folder = fill("relaygen", "Thus", "So")
    one = found()[folder]
    assert (one.answers, one.used) == (1, True)
    assert one.bytes > 0
    assert one.about == "answers: relay (large, small, 2 cues), budget 1024"


@pytest.mark.parametrize(
    ("key", "value"), [("seed", 1), ("pairs.demo.budget", 512), ("relay.min_tokens", 9)]
)
def test_answers_under_other_settings_are_not_in_use(key: str, value: Any) -> None:
    mined("Thus")
    folder = fill("relaygen", "Thus")
    assert used(folder)
    assert not used(folder, params_with(key, value))


def test_answers_by_other_code_or_another_model_are_not_in_use() -> None:
    mined("Thus")
    folder = fill("relaygen", "Thus")
    for file in ("stages/methods/relay.py", "stages/generation/answering.py"):
        with edited(file, end="\nCHANGED = True\n"):
            assert not used(folder)
    with edited("demo_pair/small/model.safetensors", end="other"):
        assert not used(folder)
    assert used(folder)


def test_how_a_run_goes_does_not_matter() -> None:
    folder = fill("large")
    assert used(folder, params_with("infer.concurrency", 2))
    assert used(folder, params_with("pairs.demo.repeats", 8))


def test_answers_by_words_that_are_not_selected_any_more_are_not_in_use() -> None:
    folder = fill("relaygen", "Thus")
    mined("So")
    assert not used(folder)


def test_answers_by_mined_words_stay_where_the_words_are_not_here() -> None:
    # As in a fresh clone, or after results/ was removed.
    assert used(fill("relaygen", "Thus"))
    assert used(fill("relaygen_eagle3", "Thus"))
    latency = fill_latency(relaygen=["Thus"], relaygen_eagle3=["Thus"])
    assert used(latency)
    assert found()[latency].about == (
        "latency: small, large, eagle3, draft, spec_think, r2r, r2r_entropy, "
        "relaygen, relaygen_eagle3"
    )


def test_times_by_words_that_are_not_selected_any_more_are_not_in_use() -> None:
    latency = fill_latency(relaygen=["Thus"], relaygen_eagle3=["Thus"])
    for method in ("relaygen", "relaygen_eagle3"):
        mined("Thus", method=method)
    assert used(latency)
    mined("So")
    assert not used(latency)


def test_traces_margins_and_answer_stages_are_in_use() -> None:
    settings = settings_of(demo(), Target("margins", "demo"))
    with Store.under("margins", recipes.margins_recipe(settings)) as margins:
        margins.append(("p",), {"margins": []})
    folders = [margins.folder]
    for stage in ("traces", "answer_stage"):
        one = settings_of(demo(), Target(stage, "demo"))
        with Store.under("answers", recipes.answers_recipe(one, one.method, [])) as store:
            store.append(("p", "0"), {})
        folders.append(store.folder)
    assert all(used(folder) for folder in folders)
    assert found()[margins.folder].about == "margins: small"


def test_answers_of_a_pair_that_is_not_run_today_stay() -> None:
    assert used(fill("large", pair="qwen3"))


def relaygen(*words: str) -> Result:
    return CliRunner().invoke(app, words, prog_name="relaygen")


def test_trimming_removes_what_is_not_in_use_and_nothing_else() -> None:
    mined("So")
    old, new = fill("relaygen", "Thus"), fill("relaygen", "So")
    result = relaygen("store", "trim")
    assert (result.exit_code, result.output[:28]) == (0, "removed 1 recipes' answers, ")
    assert not old.exists()
    assert list(found()) == [new]


def test_a_list_says_what_is_in_use() -> None:
    mined("So")
    fill("relaygen", "Thus")
    assert "1 kept, " in relaygen("store").output
    assert "not in use: answers: relay (large, small, 1 cues)" in relaygen("store").output


def test_nothing_is_trimmed_while_a_run_is_under_way() -> None:
    folder = fill("relaygen", "Thus")
    mined("So")
    with one_run.claim():
        result = relaygen("store", "trim")
    assert result.exit_code == 1
    assert "another run is under way in this folder" in result.stderr
    assert folder.exists()
