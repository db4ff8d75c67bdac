"""Answers whose last stage the small model wrote, against the large model's own."""

from pathlib import Path

import polars as pl
import pytest

from stages.analysis.answer_stage import agree, consistency, tasks
from stages.generation.answers import table
from stages.generation.store import Store

pytestmark = pytest.mark.unit


def test_the_small_model_goes_on_behind_the_reasoning_with_what_is_left_of_the_budget() -> None:
    answers = pl.DataFrame(
        {
            "problem_id": [0, 1, 2],
            "repeat": [0, 0, 0],
            "token_ids": [[5, 6, 7, 8], [5], [5, 6]],
            "answer_start": [2, None, 1],
            "finish_reason": ["stop", "length", "length"],
        }
    )
    problems = pl.DataFrame({"problem_id": [0, 1, 2], "prompt_ids": [[1], [2], [3]]})
    (task,) = tasks(answers, problems)
    assert (task.problem, task.prompt_ids, task.spent) == (0, [1, 5, 6], 2)


def test_consistency_counts_equal_final_answers_right_or_wrong() -> None:
    large = pl.DataFrame(
        {"problem_id": [0, 1], "repeat": [0, 0], "answer_text": [r"\boxed{05}", r"\boxed{7}"]}
    )
    small = large.with_columns(answer_text=pl.Series([r"so \boxed{5}", r"\boxed{8}"]))
    assert consistency(large, small, "math") == {"n": 2, "consistent_percent": 50.0}


def test_two_missing_final_answers_agree_and_one_does_not() -> None:
    assert agree(None, None, "math")
    assert not agree("5", None, "math")


def test_where_no_reasoning_ended_nothing_is_asked_and_no_percentage_given(tmp_path: Path) -> None:
    large = pl.DataFrame(
        {
            "problem_id": [0, 1],
            "repeat": [0, 0],
            "answer_text": ["", ""],
            "token_ids": [[5, 6], [7, 8]],
            "answer_start": [None, None],
            "finish_reason": ["length", "length"],
        },
        schema_overrides={"answer_start": pl.Int64},
    )
    problems = pl.DataFrame({"problem_id": [0, 1], "prompt_ids": [[1], [2]]})
    todo = tasks(large, problems)
    assert todo == []
    small = table(todo, Store(tmp_path / "nothing"))
    assert consistency(large, small, "math") == {"n": 0, "consistent_percent": None}
