"""Descriptions of the figures."""

import polars as pl
import pytest

from stages.analysis.alts import alt
from stages.analysis.listing import FIGURES

pytestmark = pytest.mark.unit

TABLES = {
    "accuracy": pl.DataFrame(
        {
            "method": ["large", "relaygen", "r2r"], "benchmark": "aime25",
            "pass_at_1": [90.0, 88.4, None], "large_utilization": [100.0, 40.0, None],
        }
    ),
    "speed": pl.DataFrame(
        {
            "method": ["relaygen", "large", "r2r"], "speedup": [1.5, 1.0, None],
            "ci_low": [1.4, 1.0, None], "ci_high": [1.6, 1.0, None],
        }
    ),
}  # fmt: skip


def test_bars_are_described_by_their_values_and_the_papers_rows_are_not_among_them() -> None:
    assert alt("accuracy", TABLES) == (
        "Bars of Pass@1: Large model on AIME 2025 90 %, RelayGen on AIME 2025 88 %."
    )
    assert alt("tokens", TABLES).endswith("tokens: RelayGen on AIME 2025 40 %.")
    assert alt("speed", TABLES) == (
        "Bars of speedups: Large model 1.00 (1.00 to 1.00), RelayGen 1.50 (1.40 to 1.60)."
    )


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_description(name: str) -> None:
    assert alt(name, TABLES)
