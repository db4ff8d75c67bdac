"""The tests for GPUs where there is none."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit


def test_where_there_is_no_gpu_they_are_skipped_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "tests/gpu"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stdout.count("SKIPPED [1]") == result.stdout.count("SKIPPED") == 1
