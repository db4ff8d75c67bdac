"""What a user sees when something is wrong."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.runtime import command_line

pytestmark = pytest.mark.unit


def call(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_mistake_is_one_line_and_a_failure() -> None:
    result = call("stages.plan", "--params", "nowhere.yaml")
    assert result.returncode == 1
    assert result.stderr == "error: nowhere.yaml: no such file; run from the project's root\n"


def test_an_unknown_pair_is_one_line() -> None:
    result = call(
        "stages.cues", "--pair", "llama", "--margins", "x", "--out", "y", "--selected", "z"
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: unknown pair 'llama', params.yaml has: demo, demo_gpu")
    assert result.stderr.count("\n") == 1


def test_help_says_what_a_stage_does() -> None:
    result = call("stages.cues", "--help")
    assert result.returncode == 0
    assert "Cue effects" in " ".join(result.stdout.split())


def test_a_pair_that_is_left_out_is_named_as_such() -> None:
    result = call("stages.cues", "--margins", "x", "--out", "y", "--selected", "z")
    assert result.returncode == 2
    assert result.stderr == (
        "error: the following arguments are required: --pair (--help explains all options)\n"
    )


def test_a_stage_of_the_whole_run_takes_no_pair() -> None:
    result = call("stages.tables", "--pair", "demo", "--summaries", "x", "--out", "y")
    assert result.returncode == 2
    assert "unrecognized arguments: --pair demo" in result.stderr


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "writing failed: No space left on device: free some space, then run again",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "logs/demo"),
            "logs/demo: Permission denied: change its permissions, then run again",
        ),
        (
            OSError("No space left on device (os error 28)"),
            "writing failed: No space left on device: free some space, then run again",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "writing failed: Too many open files: raise the limit of open files (ulimit -n), "
            "then run again",
        ),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    error: OSError, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit, match="1"):
        command_line.run(main)
    assert capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.parametrize("error", [ValueError("a bug"), FileNotFoundError(errno.ENOENT, "no")])
def test_any_other_error_keeps_its_traceback(error: Exception) -> None:
    def main() -> None:
        raise error

    with pytest.raises(type(error)):
        command_line.run(main)


# A locale that is not UTF-8, and a Python that takes it at its word.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_another_locale_than_utf_8_reads_and_writes_the_same_files(tmp_path: Path) -> None:
    params = Path("params.yaml").read_text(encoding="utf-8")
    file = tmp_path / "params.yaml"
    file.write_text(f"# Größe, 大きさ\n{params}", encoding="utf-8")
    result = call("stages.plan", "--params", str(file), "--log", str(tmp_path / "log"), **ASCII)
    assert (result.returncode, result.stderr) == (0, "")


def test_what_a_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    traces = tmp_path / "traces.jsonl"
    traces.write_text('{"text": "Thus é. So</think>4", "problem_id": "é"}\n', encoding="utf-8")
    options = ["--traces", str(traces), "--tokenizer", "demo_pair/large", "--cues", "all"]
    result = call("stages.replay", *options, **ASCII)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_error_with_any_letter_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("größe: 1\n", encoding="utf-8")
    result = call("stages.plan", "--params", str(file), **ASCII)
    assert result.returncode == 1
    assert r"gr\xf6\xdfe: unknown key" in result.stderr
    assert result.stderr.count("\n") == 1
