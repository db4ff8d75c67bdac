"""What a stage's import drags in: every job pays for it."""

import subprocess
import sys

import pytest

from stages.perf.dag import stage_modules

pytestmark = pytest.mark.unit
HEAVY = ("torch", "transformers", "vllm", "datasets")
DRAWING = ("matplotlib", "seaborn", "pandas")
CODE = "import sys; [__import__(name) for name in sys.argv[1:]]; print(*sys.modules)"


def loaded(*modules: str) -> set[str]:
    """What is imported once `modules` are."""
    command = [sys.executable, "-c", CODE, *modules]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_no_stage_imports_a_library_of_models_before_it_needs_it() -> None:
    assert {"stages.prepare", "stages.infer", "stages.figures"} <= set(stage_modules())
    assert loaded(*stage_modules()).isdisjoint(HEAVY)


def test_only_figures_imports_what_draws() -> None:
    others = set(stage_modules()) - {"stages.figures"}
    assert loaded(*others).isdisjoint(DRAWING)


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
    assert loaded("stages.analysis.listing").isdisjoint({*DRAWING, "numpy", "polars", "pydantic"})
