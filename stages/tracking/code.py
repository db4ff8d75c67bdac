"""What code makes a result: the modules that a module imports, each digested by its syntax tree.

Comments, docstrings, layout and imports for type checkers alone change nothing.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from stages.tracking.memory import Memory

ROOT = Path(__file__).resolve().parents[2]
OURS = ("stages", "demo_pair")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"  # whose syntax trees they are


class Module(NamedTuple):
    """A module's digest (16 hexadecimal digits) and the names that it imports."""

    digest: str
    imports: list[str]


@cache
def memory() -> Memory:
    """Return the modules that are known."""
    return Memory(f"code-{PYTHON}")


def closure(*roots: str) -> dict[str, str]:
    """Return {module: digest} of the project's modules that `roots` are and import, by name."""
    found: dict[str, str] = {}
    waiting = [name for root in roots for name in with_parents(root)]
    while waiting:
        name = waiting.pop()
        if name not in found and (file := source(name)):
            module = read(file)
            found[name] = module.digest
            waiting += [one for target in module.imports for one in with_parents(target)]
    memory().save()
    return dict(sorted(found.items()))


def libraries(modules: dict[str, str]) -> set[str]:
    """Return the top-level names of all else that these modules import."""
    imports = {name for one in modules if (file := source(one)) for name in read(file).imports}
    return {top for name in imports if (top := name.split(".")[0]) not in OURS}


def with_parents(name: str) -> list[str]:
    """Return a module's name and those of the packages that it lies in: importing runs all."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


@cache
def source(name: str) -> Path | None:
    """Return the file of a module of this project; None for any other name."""
    parts = name.split(".")
    if parts[0] not in OURS:
        return None
    path = ROOT.joinpath(*parts)
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def read(file: Path) -> Module:
    """Return a file's digest and imports."""
    return Module(*memory().of(file, parse))


def parse(file: Path) -> Module:
    """Work them out from the file's syntax tree."""
    tree = ast.parse(file.read_bytes(), filename=str(file))
    return Module(digest(tree), sorted(set(imports(tree))))


def digest(tree: ast.AST) -> str:
    """Return 16 hexadecimal digits that tell one syntax tree from another."""
    return hashlib.sha256("".join(shape(tree)).encode()).hexdigest()[:16]


def imports(node: ast.AST) -> Iterator[str]:
    """Yield what a tree imports at run time, inside functions too; a name may be an attribute's."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{name.name}" for name in names)
            case ast.If(orelse=other) if is_for_types(child):
                yield from imports(ast.Module(other, []))
            case _:
                yield from imports(child)


def shape(node: object) -> Iterator[str]:
    """Yield the pieces of a text that tells one tree from another.

    Fields that are empty are left out: Python versions differ in them.
    """
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            kept = without_text(node, value) if name == "body" else value
            if kept not in (None, []) and name not in ("kind", "type_comment"):
                yield f" {name}="
                yield from shape(kept)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for one in node:
            yield from shape(one)
        yield "]"
    else:
        yield repr(node)


def without_text(node: ast.AST, body: object) -> object:
    """Return a body without its docstring and without imports for type checkers alone."""
    if not isinstance(body, list):
        return body
    documented = isinstance(
        node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    )
    match body:
        case [ast.Expr(ast.Constant(str())), *rest] if documented:
            body = rest
    return [one for one in body if not is_for_types(one) or one.orelse]


def is_for_types(node: object) -> bool:
    """Return whether a statement is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING"
