"""Captions of the figures: what each shows, of which benchmark, and of how many problems."""

import polars as pl

from stages.analysis.display import shown, sizes
from stages.analysis.listing import FIGURES
from stages.analysis.plots import MAX_LINES, median_answer, median_trace


def captions(
    accuracy: pl.DataFrame,
    speed: pl.DataFrame,
    cues: pl.DataFrame,
    margins: pl.DataFrame,
    latency: pl.DataFrame,
    min_segments: int,
    speed_benchmark: str,
) -> dict[str, str]:
    """Return {figure: its caption} from the tables that the figures are drawn from."""
    n, runs = speed.select("n_problems", "n_runs").row(0)
    timed = f"{shown(speed_benchmark)}, {n} problems, runs of each: {runs}."
    answer = median_answer(latency)
    more = {
        "margins": f"Problem {median_trace(margins)[0]}.",
        "cues": rare(cues, min_segments),
        "accuracy": sizes(accuracy),
        "tokens": f"{sizes(accuracy)} {pooled(accuracy)}".strip(),
        "speed": timed,
        "pareto": f"Speed: {timed} Pass@1: {sizes(accuracy.filter(benchmark=speed_benchmark))}",
        "timeline": f"{shown(answer['method'])}, {shown(speed_benchmark)}, "
        f"problem {answer['problem_id']}.",
    }
    return {name: f"{caption} {more[name]}" for name, caption in FIGURES.items()}


def pooled(accuracy: pl.DataFrame) -> str:
    """Return what is said of the shares of tokens if there are too many to draw each."""
    drawn = accuracy.filter(pl.col("large_utilization").is_between(0, 100, closed="none"))
    return "Means of the benchmarks." if len(drawn) > MAX_LINES else ""


def rare(cues: pl.DataFrame, min_segments: int) -> str:
    """Return a sentence on the candidates that were too rare to be judged."""
    n = int((cues["n_segments"] < min_segments).sum())
    return f"Not shown: {n} of {len(cues)} candidates, with fewer than {min_segments} segments."
