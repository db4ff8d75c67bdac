"""What vLLM compiles with on GPUs is looked for before an engine starts."""

from pathlib import Path

import pytest

from stages.engine import compiler
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit

# Compiles nothing, and says why as gcc does.
WITHOUT_HEADERS = """#!/bin/sh
echo "check.c:1:10: fatal error: Python.h: No such file or directory" >&2
exit 1
"""


def put(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a folder with one program as PATH."""
    program = folder / name
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", f"{folder}:/bin")


def test_without_a_compiler_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no C compiler here, .*apt-get install gcc\)"):
        compiler.check()


def test_without_pythons_headers_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "gcc", WITHOUT_HEADERS, monkeypatch)
    with pytest.raises(UserError, match=r"fatal error: Python\.h: No such .*python3\.\d+-dev"):
        compiler.check()


def test_a_compiler_with_headers_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "clang", "#!/bin/sh\nexit 0\n", monkeypatch)
    compiler.check()
