"""Captions of the figures: what each shows, of which benchmark, and of how many problems."""

import polars as pl

from stages.analysis.acceptance import ends
from stages.analysis.display import shown, sizes
from stages.analysis.listing import FIGURES, LOAD_CAPTION
from stages.analysis.load import pays_at
from stages.analysis.plots import MAX_LINES, median_answer, median_trace


def captions(
    accuracy: pl.DataFrame,
    speed: pl.DataFrame,
    cues: pl.DataFrame,
    margins: pl.DataFrame,
    latency: pl.DataFrame,
    min_segments: int,
    speed_benchmark: str,
    acceptance: pl.DataFrame,
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
        "acceptance": f"{timed} {ends(acceptance)}",
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


def under_load(table: pl.DataFrame, benchmark: str) -> str:
    """Return the caption of the figure of answers under load, and what it says of the relays.

    `table`: a pair's rows of throughput.csv.
    """
    relays = [name for name in table["method"].unique(maintain_order=True) if "relaygen" in name]
    said = " ".join(pays(table, name) for name in relays)
    return f"{LOAD_CAPTION} {shown(benchmark)}, {table['n_problems'][0]} problems. {said}".strip()


def pays(table: pl.DataFrame, method: str) -> str:
    """Return where a method gives more answers a minute than the large model on its hardware."""
    numbers = ", ".join(map(str, pays_at(table, method))) or "no number"
    return (
        f"{shown(method)} gives more answers a minute than the large model on the same hardware at "
        f"{numbers} in flight."
    )
