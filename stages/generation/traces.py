"""The large model alone answers the calibration set: what margins are profiled on."""

import polars as pl
from tokenizers import Tokenizer

SCHEMA = pl.Schema(
    {
        "problem_id": pl.Int64(),
        "repeat": pl.Int64(),
        "text": pl.String(),
        "token_ids": pl.List(pl.Int32()),
        "prompt_ids": pl.List(pl.Int32()),
        "reasoning_tokens": pl.Int64(),
        "n_tokens": pl.Int64(),
        "finished": pl.Boolean(),
    }
)


def table(rows: pl.DataFrame, problems: pl.DataFrame, tokenizer: Tokenizer) -> pl.DataFrame:
    """Shard rows as traces; `reasoning_tokens` counts up to and including </think>."""
    texts = [tokenizer.decode(ids, skip_special_tokens=False) for ids in rows["token_ids"]]
    return (
        rows.with_columns(
            pl.Series("text", texts),
            n_tokens=pl.col("token_ids").list.len(),
            reasoning_tokens=pl.col("answer_start").fill_null(pl.col("token_ids").list.len()),
            finished=pl.col("finish_reason") == "stop",
        )
        .join(problems.select("problem_id", "prompt_ids"), on="problem_id")
        .sort("problem_id", "repeat")
        .select(list(SCHEMA))
        .cast(SCHEMA)
    )
