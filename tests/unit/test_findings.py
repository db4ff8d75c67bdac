"""The report's first lines, for results that say different things."""

from typing import Any

import polars as pl
import pytest

from stages.analysis.accuracy import LEFT_OUT, left_out_rows
from stages.analysis.differences import SCHEMA, verdict
from stages.analysis.findings import TIMES, findings, gained, signed

pytestmark = pytest.mark.unit

# {method: (speedup, its interval, Pass@1 on aime25, difference there, its interval)}
Result = dict[str, tuple[float, tuple[float, float], float, float, tuple[float, float]]]
FASTER_AND_AS_GOOD: Result = {
    "large": (1.0, (1.0, 1.0), 80.0, 0.0, (0.0, 0.0)),
    "relaygen": (1.5, (1.4, 1.6), 81.0, 1.0, (-3.0, 5.0)),
    "eagle3": (1.2, (0.9, 1.3), 80.0, 0.0, (-4.0, 4.0)),
}
FASTER_AND_WORSE: Result = {
    "large": (1.0, (1.0, 1.0), 80.0, 0.0, (0.0, 0.0)),
    "small": (5.0, (4.0, 6.0), 20.0, -60.0, (-70.0, -50.0)),
    "relaygen": (1.5, (1.4, 1.6), 85.0, 5.0, (1.0, 9.0)),
}
SLOWER: Result = {
    "large": (1.0, (1.0, 1.0), 80.0, 0.0, (0.0, 0.0)),
    "relaygen": (0.5, (0.4, 0.6), 70.0, -10.0, (-15.0, -5.0)),
}


def said(result: Result, left_out: pl.DataFrame | None = None) -> list[str]:
    speed: list[dict[str, Any]] = []
    accuracy, differences = [], []
    for method, (speedup, (slow, fast), right, difference, (low, high)) in result.items():
        speed.append({"method": method, "speedup": speedup, "ci_low": slow, "ci_high": fast})
        accuracy.append({"method": method, "benchmark": "aime25", "pass_at_1": right})
        if method != "large":
            row = {"pair": "p", "method": method, "benchmark": "aime25", "difference": difference}
            interval = {"ci_low": low, "ci_high": high, "verdict": verdict(low, high)}
            differences.append({**row, **interval, "n_problems": 9, "n_repeats": 1})
    sentences = findings(
        pl.DataFrame(accuracy),
        pl.DataFrame(differences, schema=SCHEMA),
        pl.DataFrame(speed),
        left_out if left_out is not None else pl.DataFrame(schema=LEFT_OUT),
        "aime25",
    )
    return [one.replace(TIMES, "x") for one in sentences]


def test_a_faster_relay_of_which_no_loss_is_shown() -> None:
    assert said(FASTER_AND_AS_GOOD) == [
        "Faster than the large model alone: RelayGen 1.50x (1.40 to 1.60); not shown to be "
        "faster: Large + Eagle-3.",
        "No difference in Pass@1 is shown for RelayGen, Large + Eagle-3: the largest is RelayGen "
        "+1.0 on AIME 2025 (-3.0 to +5.0).",
        "By the values on AIME 2025, whatever their intervals hold, these are beaten in both: "
        "Large model by RelayGen, 1.50x as fast and 1.0 points more accurate; Large + Eagle-3 by "
        "RelayGen, 1.25x as fast and 1.0 points more accurate.",
    ]


def test_a_fast_method_that_loses_beside_one_that_gains() -> None:
    faster, accurate, beaten = said(FASTER_AND_WORSE)
    assert faster.startswith("Faster than the large model alone: Small model 5.00x")
    assert accurate == (
        "Less accurate than it (Pass@1, points): Small model -60.0 on AIME 2025 (-70.0 to -50.0). "
        "More accurate (Pass@1, points): RelayGen +5.0 on AIME 2025 (+1.0 to +9.0)."
    )
    assert "Large model by RelayGen" in beaten
    assert "Small model by" not in beaten


def test_a_slower_relay_is_beaten_by_the_large_model_and_gaps_are_named() -> None:
    gap = left_out_rows("p", {"gpqa_diamond": "the set is gated"})
    assert said(SLOWER, gap) == [
        "No method was shown to be faster than the large model alone.",
        "Less accurate than it (Pass@1, points): RelayGen -10.0 on AIME 2025 (-15.0 to -5.0).",
        "By the values on AIME 2025, whatever their intervals hold, these are beaten in both: "
        "RelayGen by Large model, 2.00x as fast and 10.0 points more accurate.",
        "Left out: GPQA Diamond (the set is gated).",
    ]


def test_a_run_of_the_large_model_alone_says_so() -> None:
    assert said({"large": SLOWER["large"]}) == [
        "No method was compared with the large model.",
        "No method is both slower and less accurate than another on AIME 2025.",
    ]


def test_of_many_benchmarks_the_largest_difference_is_named() -> None:
    rows = pl.DataFrame(
        {
            "method": "small", "benchmark": [f"b{i}" for i in range(4)],
            "difference": [-1.0, -9.0, 3.0, -2.0], "ci_low": -10.0, "ci_high": 4.0,
        }
    )  # fmt: skip
    few = rows.head(2)
    assert gained(few) == "Small model -1.0 on b0 (-10.0 to +4.0), -9.0 on b1 (-10.0 to +4.0)"
    assert gained(rows) == "Small model on 4 benchmarks, most: -9.0 on b1 (-10.0 to +4.0)"


@pytest.mark.parametrize(("points", "text"), [(0.0, "0.0"), (-0.01, "0.0"), (-1.0, "-1.0")])
def test_a_difference_has_its_sign_unless_it_prints_as_zero(points: float, text: str) -> None:
    assert signed(points) == text
