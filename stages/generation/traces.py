"""The large model alone answers the calibration set: what margins are profiled on."""

from collections.abc import Sequence

import polars as pl
from tokenizers import Tokenizer

from stages.generation.answering import Task
from stages.generation.answers import rows
from stages.generation.store import Store
from stages.runtime import command_line
from stages.runtime.errors import UserError

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


def table(todo: Sequence[Task], store: Store, tokenizer: Tokenizer, think_end: str) -> pl.DataFrame:
    """Return answers as traces; `reasoning_tokens` counts up to and including the end tag,
    `think_end`.

    Raises UserError if no trace has one.
    """
    prompts = [task.prompt_ids for task in todo]
    frame = pl.DataFrame(rows(todo, store), infer_schema_length=None)
    check_ends(frame["answer_start"], think_end)
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


def check_ends(answer_starts: pl.Series, think_end: str) -> None:
    """Warn of traces that do not end their reasoning; UserError if none does.

    All tokens of such an answer are reasoning: it has no final answer to score.
    """
    missing, n = answer_starts.null_count(), len(answer_starts)
    if missing == n:
        raise UserError(
            f"none of {n} traces ends its reasoning ({think_end}), so no answer could be scored: "
            "the large model does not write it, or the pair's budget is too small"
        )
    if missing:
        command_line.warn(
            f"{missing} of {n} traces do not end their reasoning ({think_end}) within the budget"
        )
