"""Cue effects token by token, as they are defined; those of the stage `cues` must be equal."""

import numpy as np
import polars as pl

from stages.methods.matching import CueMatching, occurrences, segment
from stages.tracking.files import Row


def reference(
    margins: pl.DataFrame, candidates: list[str], matching: CueMatching, include_prompt: bool
) -> list[Row]:
    """Return the rows of cues.csv without intervals and selection, in the candidates' order."""
    return [row(margins, cue, matching, include_prompt) for cue in candidates]


def row(margins: pl.DataFrame, cue: str, matching: CueMatching, include_prompt: bool) -> Row:
    """Return one candidate's row."""
    inside: list[float] = []
    others: list[float] = []
    n_segments = n_traces = 0
    for trace in margins.partition_by("problem_id", "repeat", maintain_order=True):
        prompt: list[float] = []
        tokens: list[tuple[int, float]] = []
        text = ""
        for token, margin, stage in trace.select("token", "margin", "stage").iter_rows():
            if stage == "reasoning":
                tokens.append((len(text), margin))
                text += token
            elif include_prompt and margin is not None:
                prompt.append(margin)
        spans = [segment(text, cue, position) for position in occurrences(text, cue, matching)]
        spans = [(a, b) for a, b in spans if any(a <= start < b for start, _ in tokens)]
        for start, margin in tokens:
            in_segment = any(a <= start < b for a, b in spans)
            (inside if in_segment else others).append(margin)
        others += prompt
        n_segments += len(spans)
        n_traces += bool(spans)
    return summary(cue, n_segments, n_traces, inside, others)


def summary(
    cue: str, n_segments: int, n_traces: int, inside: list[float], others: list[float]
) -> Row:
    """Return counts, means and spread, by NumPy: its sums round in another order than Python's."""
    mean = float(np.mean(inside)) if inside else None
    other_mean = float(np.mean(others)) if others else None
    sd = float(np.std(inside, ddof=1)) if len(inside) > 1 else None
    return {
        "cue": cue,
        "n_segments": n_segments,
        "n_traces": n_traces,
        "n_tokens": len(inside),
        "mean_margin": mean,
        "sd": sd,
        "sem": sd / len(inside) ** 0.5 if sd is not None else None,
        "other_mean": other_mean,
        "delta": mean - other_mean if mean is not None and other_mean is not None else None,
    }
