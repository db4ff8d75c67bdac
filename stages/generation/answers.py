"""One method answers every benchmark, or one of several jobs its part of the problems.

Engines are started once and serve all benchmarks.
"""

import polars as pl

SEGMENT = pl.Struct(
    {
        "model": pl.String(),
        "stage": pl.String(),
        "n_tokens": pl.Int64(),
        "cue": pl.String(),
        "wall_s": pl.Float64(),
    }
)
SCHEMA = pl.Schema(
    {
        "problem_id": pl.Int64(),
        "repeat": pl.Int64(),
        "answer_text": pl.String(),
        "token_ids": pl.List(pl.Int32()),
        "answer_start": pl.Int64(),
        "large_tokens": pl.Int64(),
        "small_tokens": pl.Int64(),
        "n_switches": pl.Int64(),
        "finish_reason": pl.String(),
        "wall_s": pl.Float64(),
        "segments": pl.List(SEGMENT),
        "prompt_tokens": pl.Int64(),
        "cached_tokens": pl.Int64(),
    }
)
