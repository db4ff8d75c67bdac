"""What a stage's import drags in: every job pays for it, and its recipe has to hold it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stages.config.params import load
from stages.perf.dag import stage_modules
from stages.tracking.recipes import job_of
from stages.tracking.targets import targets

pytestmark = pytest.mark.unit
HEAVY = {"torch", "transformers", "vllm", "datasets"}
DRAWING = {"matplotlib", "seaborn", "pandas"}
DRAWERS = {"stages.figures", "stages.load"}
LOADED = """
import importlib, json, sys
found = {}
for module in sys.argv[1:]:
    for name in list(sys.modules):
        if name.split(".")[0] in ("stages", "demo_pair"):
            del sys.modules[name]
    importlib.import_module(module)
    found[module] = list(sys.modules)
print(json.dumps(found))
"""


def each_loaded(*modules: str) -> dict[str, set[str]]:
    """What is imported once each of `modules` is: of ours what it imports, of others all so far."""
    command = [sys.executable, "-c", LOADED, *modules]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return {module: set(names) for module, names in json.loads(ran.stdout).items()}


def loaded(module: str) -> set[str]:
    return each_loaded(module)[module]


@pytest.fixture(scope="module")
def by_stage() -> dict[str, set[str]]:
    """What each stage imports, those that draw last."""
    return each_loaded(*sorted(stage_modules(), key=DRAWERS.__contains__))


def test_no_stage_imports_a_library_of_models_before_it_needs_it(
    by_stage: dict[str, set[str]],
) -> None:
    assert {"stages.prepare", "stages.infer", "stages.figures"} <= set(by_stage)
    assert all(names.isdisjoint(HEAVY) for names in by_stage.values())


def test_only_what_draws_imports_what_it_takes(by_stage: dict[str, set[str]]) -> None:
    drawing = {stage for stage, names in by_stage.items() if names & DRAWING}
    assert drawing == DRAWERS


def test_a_recipe_holds_every_module_that_its_stage_imports(by_stage: dict[str, set[str]]) -> None:
    params = load(Path("params.yaml"))
    for target in targets(params):
        ours = {
            name
            for name in by_stage[f"stages.{target.stage}"]
            if name.split(".")[0] in ("stages", "demo_pair")
        }
        assert ours <= set(job_of(params, target).recipe["code"]), target


def test_recipes_are_written_without_what_takes_long_to_import() -> None:
    # Both entrances do so at every start.
    slow = {"numpy", "polars", "pyarrow", "tokenizers", "huggingface_hub", "aiohttp", "httpx"}
    assert loaded("stages.recipes").isdisjoint(HEAVY | DRAWING | slow)


def test_asking_an_engine_imports_neither_params_nor_the_server() -> None:
    # Answers are keyed by the code that asks for them.
    ours = {name for name in loaded("stages.engine.client") if name.startswith("stages.")}
    assert ours == {
        "stages.config",
        "stages.config.block",
        "stages.engine",
        "stages.engine.client",
        "stages.engine.replies",
        "stages.engine.spec",
        "stages.methods",
        "stages.methods.base",
        "stages.runtime",
        "stages.runtime.errors",
    }


def test_the_names_of_tables_and_figures_are_known_without_a_library() -> None:
    assert loaded("stages.analysis.listing").isdisjoint(DRAWING | {"numpy", "polars", "pydantic"})
