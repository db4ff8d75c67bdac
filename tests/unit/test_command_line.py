"""What a user sees when something is wrong."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False
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
    assert result.stderr.startswith("error: unknown pair 'llama', params.yaml has: demo, qwen3")
    assert result.stderr.count("\n") == 1


def test_help_says_what_a_stage_does() -> None:
    result = call("stages.cues", "--help")
    assert result.returncode == 0
    assert "Cue effects" in " ".join(result.stdout.split())
