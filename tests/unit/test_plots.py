"""Every figure of any run is drawn: many methods, one method, and answers that nothing came of."""

from pathlib import Path

import polars as pl
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from stages.analysis import plots
from stages.generation import latency

pytestmark = pytest.mark.unit

MANY = [f"method_{i}" for i in range(16)]
BENCHMARKS = ["chains_short", "chains_long"]


def accuracy_table(methods: list[str], value: float = 50.0) -> pl.DataFrame:
    """Rows of accuracy.csv, as far as figures read them."""
    return pl.DataFrame(
        [
            {
                "method": method,
                "benchmark": benchmark,
                "pass_at_1": value,
                "ci_low": value,
                "ci_high": value,
                "large_utilization": 100 * i / len(methods),
            }
            for i, method in enumerate(methods)
            for benchmark in BENCHMARKS
        ]
    )


def one_benchmark(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the benchmark on which speed was measured."""
    return table.filter(benchmark="chains_long")


def speed_table(methods: list[str]) -> pl.DataFrame:
    """Rows of speed.csv, likewise."""
    return pl.DataFrame(
        [
            {
                "method": method, "speedup": 1.0 + i, "ci_low": 0.5 + i, "ci_high": 1.5 + i,
                "bound": None if i % 2 else 2.0 + i,
            }
            for i, method in enumerate(methods)
        ]
    )  # fmt: skip


def answer(method: str, *segments: tuple[str, str | None]) -> dict[str, object]:
    """A row of latency.parquet; `segments`: who wrote, and the cue at its end."""
    parts = [
        {"model": model, "stage": "reasoning", "n_tokens": 5, "cue": cue, "wall_s": 0.1}
        for model, cue in segments
    ]
    return {"method": method, "problem_id": 0, "wall_s": 0.1 * len(parts), "segments": parts}


def times(*rows: dict[str, object]) -> pl.DataFrame:
    """Such rows as the table that they are in."""
    return pl.DataFrame(rows, schema=latency.SCHEMA)


def margins_table(n: int, stage: str = "reasoning") -> pl.DataFrame:
    """Rows of margins.parquet: a trace of `n` tokens behind a prompt."""
    return pl.DataFrame(
        {
            "problem_id": [0] * (n + 1),
            "repeat": [0] * (n + 1),
            "position": range(n + 1),
            "token": ["Q", *(["So", ", ", "we", ". "] * n)[:n]],
            "margin": [None, *[0.5] * n],
            "stage": ["prompt", *[stage] * n],
        }
    )


def cues_table(n: int) -> pl.DataFrame:
    """Rows of cues.csv."""
    return pl.DataFrame(
        {
            "cue": [f"Cue{i} " for i in range(n)],
            "n_segments": [30] * n,
            "delta": [0.1] * n,
            "ci_low": [0.0] * n,
            "ci_high": [0.2] * n,
            "selected": [i % 2 == 0 for i in range(n)],
        },
        schema_overrides={"cue": pl.String, "delta": pl.Float64, "selected": pl.Boolean},
    )


def drawn(figure: Figure, folder: Path) -> Figure:
    """A figure, once it has been written in both formats."""
    plots.save(figure, {}, folder, "figure", "What it shows.")
    assert {path.name for path in folder.iterdir()} == {
        "figure.pdf",
        "figure.png",
        "figure.txt",
        "figure.provenance.json",
    }
    return figure


@pytest.mark.parametrize("methods", [MANY, ["large"]], ids=["16 methods", "one method"])
def test_figures_of_methods_are_drawn_however_many_there_are(
    tmp_path: Path, methods: list[str]
) -> None:
    table, speed = accuracy_table(methods), speed_table(methods)
    for name, figure in {
        "accuracy": plots.accuracy(table),
        "tokens": plots.token_share(table),
        "speed": plots.speed_bars(speed),
        "pareto": plots.speed_against_accuracy(speed, one_benchmark(table)),
        "timeline": plots.timeline(times(*(answer(m, ("large", "So,")) for m in methods))),
    }.items():
        drawn(figure, tmp_path / name)


def test_no_two_of_16_methods_and_the_known_ones_look_the_same() -> None:
    styles = [(to_hex(plots.color(i)), plots.marker(i), plots.hatch(i)) for i in range(22)]
    assert len({(color, marker) for color, marker, _ in styles}) == 22
    assert len({(color, hatch) for color, _, hatch in styles}) == 22


def test_a_model_looks_the_same_whatever_the_order_of_the_methods() -> None:
    assert plots.looks(["small", "large", "a"]) == plots.looks(["large", "a", "small"])
    assert plots.looks(["small", "large"]) == plots.looks([])


def test_a_point_is_dominated_by_one_that_is_as_fast_and_more_accurate() -> None:
    both = pl.DataFrame(
        {
            "method": ["large", "relaygen", "slow", "same", "small"],
            "speedup": [1.0, 1.5, 1.2, 1.5, 3.0],
            "pass_at_1": [90.0, 88.0, 70.0, 80.0, 40.0],
        }
    )
    assert plots.undominated(both)["method"].to_list() == ["large", "relaygen", "small"]


def test_bars_of_many_methods_and_benchmarks_are_in_several_rows() -> None:
    many = [accuracy_table(MANY).with_columns(benchmark=pl.lit(f"b{i}")) for i in range(6)]
    figure = plots.accuracy(pl.concat(many).unique(maintain_order=True))
    assert len(figure.axes) == 2
    plt.close(figure)


def test_the_points_of_16_methods_are_the_legends() -> None:
    figure = plots.speed_against_accuracy(speed_table(MANY), one_benchmark(accuracy_table(MANY)))
    legend = figure.axes[0].get_legend()
    assert legend
    assert [text.get_text() for text in legend.get_texts()] == MANY
    plt.close(figure)


def test_answers_that_are_all_wrong_are_drawn(tmp_path: Path) -> None:
    table = accuracy_table(["large", "relaygen"], value=0.0)
    drawn(plots.accuracy(table), tmp_path / "accuracy")
    pareto = plots.speed_against_accuracy(speed_table(["large", "relaygen"]), one_benchmark(table))
    drawn(pareto, tmp_path / "pareto")


def test_no_answer_of_two_models_is_drawn(tmp_path: Path) -> None:
    table = accuracy_table(["large"]).with_columns(large_utilization=100.0)
    drawn(plots.token_share(table), tmp_path)


def test_no_answer_that_was_handed_over_is_drawn(tmp_path: Path) -> None:
    table = times(answer("large", ("large", None)), answer("relaygen", ("large", None)))
    drawn(plots.timeline(table), tmp_path)


@pytest.mark.parametrize("stage", ["reasoning", "answer"])
@pytest.mark.parametrize("n", [1, 300])
def test_margins_of_any_trace_are_drawn(tmp_path: Path, stage: str, n: int) -> None:
    drawn(plots.margins_along_trace(margins_table(n, stage), ["So,"], "boundary"), tmp_path)


@pytest.mark.parametrize("n", [0, 1, 60])
def test_effects_of_any_number_of_cues_are_drawn(tmp_path: Path, n: int) -> None:
    drawn(plots.cue_effects(cues_table(n), 20), tmp_path)
