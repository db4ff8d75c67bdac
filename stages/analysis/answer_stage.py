"""Does it matter who writes the answer stage? (paper section 4: 99.86 % of answers stay the same)

The small model writes the answer stage after the large model's own reasoning; its final answer is
compared with the large model's, whether it is right or wrong.
"""

import polars as pl

from stages.analysis.boxes import last_boxed
from stages.analysis.grading import is_correct
from stages.config.families import Scoring
from stages.generation.answering import Task


def tasks(answers: pl.DataFrame, problems: pl.DataFrame) -> list[Task]:
    """Return a task per answer with a finished reasoning: to write the answer stage after it."""
    finished = answers.filter(pl.col("answer_start").is_not_null(), finish_reason="stop")
    prompts = problems.select("problem_id", "prompt_ids")
    return [
        Task(
            row["prompt_ids"] + row["token_ids"][: row["answer_start"]],
            row["repeat"],
            spent=row["answer_start"],
            problem=row["problem_id"],
        )
        for row in finished.join(prompts, on="problem_id").iter_rows(named=True)
    ]


def consistency(
    large: pl.DataFrame, small: pl.DataFrame, scoring: Scoring
) -> dict[str, int | float | None]:
    """Return the number of answers, and the percentage of final answers that stay the same."""
    pairs = large.join(small, on=["problem_id", "repeat"], suffix="_small")
    same = [
        agree(last_boxed(a), last_boxed(b), scoring)
        for a, b in pairs.select("answer_text", "answer_text_small").iter_rows()
    ]
    return {"n": len(same), "consistent_percent": 100 * sum(same) / len(same) if same else None}


def agree(first: str | None, second: str | None, scoring: Scoring) -> bool:
    """Return whether two final answers are the same; two missing ones are."""
    if first is None or second is None:
        return first is second
    return is_correct(second, first, scoring)
