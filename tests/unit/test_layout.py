"""How the project is laid out: an entry per rule, and lists that stand in one place alone."""

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.analysis.listing import FIGURES, TABLES
from stages.analysis.paper_tables import GRIDS
from stages.config.params import load
from stages.perf.dag import stage_modules
from stages.tracking import record
from stages.tracking.commands import RULES, commands
from stages.tracking.targets import STAGES, targets

pytestmark = pytest.mark.unit

ENTRIES = sorted(path.stem for path in Path("stages").glob("*.py") if path.stem != "__init__")
# Rules that run no entry of their own: the performance tests' and their table's.
OTHERS = {"measure", "bench"}
DVC: dict[str, Any] = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
SUFFIXES = ("pdf", "png", "txt", "provenance.json")


def imported(file: Path) -> set[str]:
    """What a file imports, functions included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names} | {str(node.module)}
    return found


@pytest.mark.parametrize("file", sorted(Path("stages").rglob("*.py")), ids=str)
def test_nothing_imports_an_entry(file: Path) -> None:
    assert imported(file).isdisjoint(f"stages.{entry}" for entry in ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_is_thin(entry: str) -> None:
    assert len(Path(f"stages/{entry}.py").read_text().splitlines()) <= 100


def test_every_rule_runs_an_entry_of_its_own_name() -> None:
    ran = {
        name: set(re.findall(r"python -m (stages\.[\w.{}]+)", text))
        for name, text in commands().items()
        if name not in OTHERS
    }
    assert ran == {name: {f"stages.{name}"} for name in ran}
    assert {f"stages.{name}" for name in ran} == set(stage_modules())


def test_every_stage_with_a_recipe_has_a_rule_and_an_entry() -> None:
    # The others: the plan makes nothing, what `together` makes is in the store, `recipes` writes
    # the recipes themselves; `mine`, `tune` and `replay_policies` are no part of a run.
    without = {"plan", "together"}
    assert set(commands()) - OTHERS - without == set(STAGES)
    assert set(STAGES) | without | {"recipes", "mine", "tune", "replay_policies"} == set(ENTRIES)


def test_every_rule_that_makes_a_result_hands_its_recipe_to_the_entry() -> None:
    for name in STAGES:
        text = commands()[name]
        assert re.search(r"--recipe \{params\.recipe(:q)?\}", text), name
        assert re.search(rf'recipe\("{name}"', text), name


def test_rules_are_written_in_one_order() -> None:
    order = [
        "input", "output", "log", "benchmark", "priority", "container", "threads", "resources",
        "params", "message", "shell",
    ]  # fmt: skip
    text = "\n".join(path.read_text() for path in sorted(RULES.glob("*.smk")))
    for name, body in re.findall(r"^rule (\w+):\n((?:(?: .*)?\n)*)", text, re.MULTILINE):
        sections = re.findall(r"^    (\w+):", body, re.MULTILINE)
        assert sections == [one for one in order if one in sections], name


def paths(stage: str, key: str) -> list[str]:
    """The deps or outs of a stage of dvc.yaml, with `${item}` for the pair."""
    listed = DVC[stage].get("do", DVC[stage]).get(key, [])
    names = [one if isinstance(one, str) else next(iter(one)) for one in listed]
    return [name.replace("${item.pair}", "${item}") for name in names]


def outs(stage: str) -> list[str]:
    return paths(stage, "outs") + paths(stage, "plots")


def test_dvc_lists_the_figures_that_there_are() -> None:
    assert sorted(outs("figures")) == sorted(
        f"results/figures/${{item}}-{name}.{suffix}" for name in FIGURES for suffix in SUFFIXES
    )


def test_every_figure_is_drawn() -> None:
    text = Path("stages/figures.py").read_text()
    assert re.findall(r'^        "(\w+)": \(', text, re.MULTILINE) == list(FIGURES)


def test_every_table_has_a_grid() -> None:
    assert list(GRIDS) == list(TABLES)


def test_dvc_lists_the_summaries_of_the_tables_that_there_are() -> None:
    made = [out for stage in DVC for out in outs(stage) if out.startswith("results/summaries/")]
    assert sorted(made) == sorted(
        f"results/summaries/${{item}}/{name}.{suffix}"
        for name in TABLES
        for suffix in ("csv", "provenance.json")
    )


def test_a_stage_of_dvc_depends_on_what_other_stages_make_and_on_nothing_else() -> None:
    made = [out.split("/${item.method}")[0] for stage in DVC for out in outs(stage)]
    for name, stage in DVC.items():
        assert "params" not in stage.get("do", stage), name
        for dep in paths(name, "deps"):
            assert [out for out in made if dep.startswith(out) or out.startswith(dep)], (name, dep)


def test_a_stage_of_dvc_depends_on_the_recipe_of_every_rule_that_it_runs() -> None:
    params, run = load(Path("params.yaml")), defaultdict[str, set[str]](set)
    for target in targets(params):
        run[record.stage_of(target, params).split("@")[0]].add(target.stage)
    for name, rules in run.items():
        for rule in rules:
            assert any(
                re.fullmatch(rf"results/recipes/(\$\{{item[.\w]*\}}/)?{rule}(\.yaml|/.*)?", dep)
                for dep in paths(name, "deps")
            ), f"{name}: no recipe of {rule}"
            assert re.search(rf"\b{rule}\b", DVC[name].get("do", DVC[name])["cmd"]), (
                f"{name}: does not run {rule}"
            )
