"""A locale that is not UTF-8 changes nothing: files and commands are read and written as UTF-8."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

# Not all below containers/: a local base there has a Python of its own.
OURS = ("stages/**/*.py", "containers/*.py", "demo_pair/**/*.py")
FILES = sorted(path for pattern in OURS for path in Path().glob(pattern))
PATH_METHODS = {"read_text": 0, "write_text": 1}  # {method: its arguments before `encoding`}


def without_encoding(file: Path) -> Iterator[str]:
    """Yield the calls in a file that read, write or run something as text of any encoding."""
    for call in ast.walk(ast.parse(file.read_bytes())):
        if not isinstance(call, ast.Call) or not is_text(call):
            continue
        if "encoding" not in {keyword.arg for keyword in call.keywords}:
            yield f"{file}, line {call.lineno}: {ast.unparse(call)}"


def is_text(call: ast.Call) -> bool:
    """Return whether a call opens a file, or runs a command, as text."""
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    match call.func:
        case ast.Attribute(_, attr) if attr in PATH_METHODS:
            return len(call.args) == PATH_METHODS[attr]
        case ast.Attribute(ast.Name("os"), "open"):
            return False
        case ast.Attribute(_, "open"):
            return "b" not in (ast.unparse(call.args[0]) if call.args else keywords.get("mode", ""))
        case ast.Name("open"):
            return "b" not in "".join(map(ast.unparse, call.args[1:]))
        case ast.Attribute(_, "basicConfig"):
            return True
    return keywords.get("text") == "True"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_text_has_its_encoding(file: Path) -> None:
    assert list(without_encoding(file)) == []
