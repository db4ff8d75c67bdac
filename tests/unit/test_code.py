"""The digest of code: what changes it, what does not, and which modules belong to a stage."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.tracking import code
from tests.unit.conftest import forget

pytestmark = pytest.mark.unit

MODULE = '''"""What it is about."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 3  # of tries


class Circle:
    """Round."""

    radius: float = 1.0


def area(circle: Circle, path: Path | None = None) -> float:
    """Return it."""
    if circle.radius < 0:
        raise ValueError("negative")
    return math.pi * circle.radius**2
'''


def digest(text: str, folder: Path) -> str:
    file = folder / "module.py"
    file.write_text(text)
    return code.parse(file).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # of tries", ""),
        ("LIMIT = 3", "# How often.\nLIMIT = 3"),
        ('"""What it is about."""\n', ""),
        ('"""Round."""', '"""A figure without corners."""'),
        ('    """Return it."""\n', ""),
        ("LIMIT = 3", "LIMIT  =  (3)"),
        ("\n\n\nclass", "\n\nclass"),
        ('"negative"', "'negative'"),
        ("circle: Circle, path", "\n    circle: Circle,\n    path"),
        ("    from pathlib import Path\n", "    from pathlib import Path, PurePath\n"),
        ("if TYPE_CHECKING:\n    from pathlib import Path\n\n", ""),
    ],
)
def test_comments_docstrings_layout_and_imports_of_types_change_nothing(
    tmp_path: Path, old: str, new: str
) -> None:
    assert old in MODULE
    assert digest(MODULE.replace(old, new), tmp_path) == digest(MODULE, tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT = 3", "LIMIT = '3'"),
        ("LIMIT = 3", "LIMITS = 3"),
        ("radius < 0", "radius <= 0"),
        ("radius**2", "radius**3"),
        ('"negative"', '"below zero"'),
        ("import math\n", "import cmath as math\n"),
        ("float = 1.0", "int = 1.0"),
        ("path: Path | None = None", "path: Path | None"),
        ("    return math", "    math"),
        ("return math.pi * circle.radius**2", "return None"),
        ("return math.pi * circle.radius**2", "return"),
        ("class Circle:", "@final\nclass Circle:"),
        ("def area", "async def area"),
        ("if circle.radius < 0", "while circle.radius < 0"),
        ("LIMIT = 3", 'LIMIT = 3\n"""A text that is no docstring."""'),
    ],
)
def test_any_other_edit_changes_it(tmp_path: Path, old: str, new: str) -> None:
    assert old in MODULE
    assert digest(MODULE.replace(old, new), tmp_path) != digest(MODULE, tmp_path)


def test_what_runs_where_types_are_not_checked_counts(tmp_path: Path) -> None:
    either = "if TYPE_CHECKING:\n    import a\nelse:\n    import {}\n"
    assert digest(either.format("b"), tmp_path) != digest(either.format("c"), tmp_path)


def test_fields_that_another_version_of_python_adds_are_left_out_while_they_are_empty() -> None:
    tree = ast.parse("def f(a): return a")
    before = "".join(code.shape(tree))
    (function,) = tree.body
    function._fields = (*function._fields, "type_params_of_tomorrow")  # type: ignore[misc]
    function.type_params_of_tomorrow = []  # type: ignore[attr-defined]
    assert "".join(code.shape(tree)) == before


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder `stages`, whose modules are the project's."""
    folder = tmp_path / "stages"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(code, "ROOT", tmp_path)
    forget()
    yield folder
    forget()


def write(package: Path, **modules: str) -> None:
    for name, text in modules.items():
        file = package.joinpath(*name.split("__")).with_suffix(".py")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    forget()


def test_a_closure_holds_what_is_imported_and_what_that_imports(package: Path) -> None:
    write(package, a="import stages.b", b="from stages import c", c="", d="")
    assert list(code.closure("stages.a")) == ["stages.a", "stages.b", "stages.c"]


def test_an_import_inside_a_function_counts(package: Path) -> None:
    write(package, a="def f():\n    from stages.b import x\n    return x", b="x = 1")
    assert list(code.closure("stages.a")) == ["stages.a", "stages.b"]


def test_an_import_for_types_alone_does_not_count(package: Path) -> None:
    text = "if TYPE_CHECKING:\n    from stages import b\nelse:\n    from stages import c"
    write(package, a=text, b="", c="")
    assert list(code.closure("stages.a")) == ["stages.a", "stages.c"]


def test_the_packages_that_a_module_lies_in_count(package: Path) -> None:
    write(package, a="import stages.p.q", p__q="")
    (package / "__init__.py").touch()
    (package / "p" / "__init__.py").write_text("from stages import b")
    write(package, b="")
    assert list(code.closure("stages.a")) == [
        "stages", "stages.a", "stages.b", "stages.p", "stages.p.q",
    ]  # fmt: skip


def test_modules_that_import_each_other_are_there_once(package: Path) -> None:
    write(package, a="import stages.b", b="import stages.a")
    assert list(code.closure("stages.a")) == ["stages.a", "stages.b"]


def test_an_edit_is_noticed_in_the_digest_of_its_module_alone(package: Path) -> None:
    write(package, a="import stages.b", b="x = 1")
    before = code.closure("stages.a")
    write(package, b="x = 2")
    after = code.closure("stages.a")
    assert before["stages.a"] == after["stages.a"]
    assert before["stages.b"] != after["stages.b"]


def test_libraries_are_told_by_their_top_level_names(package: Path) -> None:
    write(package, a="import numpy.linalg\nfrom stages.b import x", b="import polars as pl\nx = 1")
    assert code.libraries(code.closure("stages.a")) == {"numpy", "polars"}


def test_all_of_the_project_is_imported_by_its_whole_name() -> None:
    # A closure follows no relative import.
    for file in (*Path("stages").rglob("*.py"), *Path("demo_pair").glob("*.py")):
        levels = [
            n.level for n in ast.walk(ast.parse(file.read_bytes())) if isinstance(n, ast.ImportFrom)
        ]
        assert not any(levels), file
