"""The large model alone answers the calibration set: what margins are profiled on."""

from collections.abc import Sequence

import polars as pl
from tokenizers import Tokenizer

from stages.generation.answering import Task
from stages.generation.answers import rows
from stages.generation.store import Store

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


def table(todo: Sequence[Task], store: Store, tokenizer: Tokenizer) -> pl.DataFrame:
    """Return answers as traces; `reasoning_tokens` counts up to and including the end tag."""
    prompts = [task.prompt_ids for task in todo]
    frame = pl.DataFrame(rows(todo, store), infer_schema_length=None)
    texts = [tokenizer.decode(ids, skip_special_tokens=False) for ids in frame["token_ids"]]
    return (
        frame.with_columns(
            pl.Series("text", texts),
            pl.Series("prompt_ids", prompts),
            n_tokens=pl.col("token_ids").list.len(),
            reasoning_tokens=pl.col("answer_start").fill_null(pl.col("token_ids").list.len()),
            finished=pl.col("finish_reason") == "stop",
        )
        .sort("problem_id", "repeat")
        .select(list(SCHEMA))
        .cast(SCHEMA)
    )
