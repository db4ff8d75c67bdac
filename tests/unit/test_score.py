"""Final answers: found, compared, and never scored with holes."""

from pathlib import Path

import polars as pl
import pytest

from stages.errors import UserError
from stages.params import Infer
from stages.score import check_complete, is_correct, last_boxed, score

pytestmark = pytest.mark.unit

INFER = Infer(repeats=2, concurrency=1, request_timeout_s=1, retries=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \boxed{4}", "4"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} and \boxed{2", "1"),
        ("none", None),
    ],
)
def test_the_last_complete_box_is_the_final_answer(text: str, expected: str | None) -> None:
    assert last_boxed(text) == expected


@pytest.mark.parametrize(
    ("predicted", "gold", "expected"),
    [
        ("07", "7", True),
        ("07", "07", True),
        (r"\frac{1}{2}", "0.5", True),
        (r"\dfrac12", r"\frac{1}{2}", True),
        ("70", "07", False),
        (None, "07", False),
        ("", "07", False),
    ],
)
def test_math_answers_compare_by_value(predicted: str | None, gold: str, expected: bool) -> None:
    assert is_correct(predicted, gold, "math") is expected


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [("B", True), ("b", True), ("(B)", True), (r"\text{B}", True), ("C", False), ("AB", False)],
)
def test_choices_compare_by_letter(predicted: str, expected: bool) -> None:
    assert is_correct(predicted, "B", "choice") is expected


def answers(*rows: tuple[int, int, str, str]) -> pl.DataFrame:
    columns = ["problem_id", "repeat", "answer_text", "finish_reason"]
    return pl.DataFrame(rows, schema=columns, orient="row")


PROBLEMS = pl.DataFrame({"problem_id": [0], "gold": ["7"]})


def test_an_answer_cut_off_by_the_budget_is_wrong() -> None:
    frame = answers((0, 0, r"\boxed{7}", "stop"), (0, 1, r"\boxed{7}", "length"))
    assert score(frame, PROBLEMS, "math")["correct"].to_list() == [True, False]


def test_a_missing_answer_is_an_error_not_a_wrong_one() -> None:
    with pytest.raises(UserError, match=r"x\.parquet: 1 answers"):
        check_complete(answers((0, 0, "", "stop")), PROBLEMS, INFER, Path("x.parquet"))


def test_a_doubled_answer_is_an_error() -> None:
    doubled = answers((0, 0, "", "stop"), (0, 0, "", "stop"))
    with pytest.raises(UserError, match="1 different"):
        check_complete(doubled, PROBLEMS, INFER, Path("x.parquet"))
