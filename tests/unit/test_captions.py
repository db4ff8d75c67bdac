"""Captions of figures: benchmark, problems and what is not shown."""

import polars as pl
import pytest

from stages.analysis.captions import pooled, rare
from stages.analysis.display import sizes

pytestmark = pytest.mark.unit


def rows(n_methods: int) -> pl.DataFrame:
    """Rows of accuracy.csv of one benchmark."""
    return pl.DataFrame(
        {
            "method": [f"m{i}" for i in range(n_methods)], "benchmark": "aime25", "n_problems": 30,
            "n_repeats": 4, "large_utilization": 50.0,
        }
    )  # fmt: skip


def test_a_benchmark_is_named_once_with_its_problems() -> None:
    assert sizes(rows(3)) == "Problems and answers to each: AIME 2025 30 and 4."


def test_rare_candidates_are_counted() -> None:
    cues = pl.DataFrame({"n_segments": [1, 19, 20]})
    assert rare(cues, 20) == "Not shown: 2 of 3 candidates, with fewer than 20 segments."


def test_means_are_said_to_be_means() -> None:
    assert pooled(rows(41)) == "Means of the benchmarks."
    assert pooled(rows(40)) == ""
