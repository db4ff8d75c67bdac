"""What `dvc metrics` compares."""

import json
from pathlib import Path

import polars as pl
import pytest

from stages.analysis.metrics import metrics, write

pytestmark = pytest.mark.unit

ACCURACY = pl.DataFrame(
    {
        "pair": "qwen3", "method": ["large", "r2r"], "benchmark": "aime25",
        "pass_at_1": [90.00049, None], "mean_tokens": [5.0, None],
        "large_utilization": [100.0, None],
    }
)  # fmt: skip
SPEED = pl.DataFrame(
    {
        "pair": "qwen3", "method": ["large", "r2r"], "speedup": [1.0, None],
        "tokens_per_s": [30.0, None], "large_utilization": [100.0, None],
    }
)  # fmt: skip


OURS = {
    "qwen3-large": {
        "aime25": {"pass_at_1": 90.0, "mean_tokens": 5.0, "large_utilization": 100.0},
        "speed": {"speedup": 1.0, "tokens_per_s": 30.0, "large_utilization": 100.0},
    }
}


def test_metrics_have_our_values_by_method_and_benchmark() -> None:
    assert metrics(ACCURACY, SPEED) == OURS


def test_there_is_a_file_per_method_and_none_of_a_method_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "qwen3-gone.json").write_text("{}")
    write(tmp_path, OURS)
    assert [file.name for file in tmp_path.iterdir()] == ["qwen3-large.json"]
    assert json.loads((tmp_path / "qwen3-large.json").read_text()) == OURS["qwen3-large"]
