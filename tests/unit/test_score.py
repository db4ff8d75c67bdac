"""Final answers: found, compared, and never scored with holes."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from stages.analysis.grading import is_correct, last_boxed, score
from stages.generation.answers import check_complete
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit

VARIANTS = yaml.safe_load((Path(__file__).parent / "answer_variants.yaml").read_text())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \boxed{4}", "4"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} and \boxed{2", "1"),
        (r"**Answer:** the result is $\boxed{4}$. I hope it helps.", "4"),
        (r"\boxed{\text{a \{set\}}} ", r"\text{a \{set\}}"),
        ("none", None),
    ],
)
def test_the_last_complete_box_is_the_final_answer(text: str, expected: str | None) -> None:
    assert last_boxed(text) == expected


@pytest.mark.parametrize("case", VARIANTS, ids=lambda case: f"{case['gold']}|{case['answer']}")
def test_an_answer_is_judged_by_what_it_means(case: dict[str, Any]) -> None:
    verdict = is_correct(case["answer"], case["gold"], case.get("scoring", "math"))
    assert verdict is case["right"], case["why"]


def test_the_variants_hold_enough_wrong_answers_to_tell_a_judge_that_says_yes() -> None:
    assert sum(not case["right"] for case in VARIANTS) >= 40


@pytest.mark.parametrize(
    "gold", sorted({case["gold"] for case in VARIANTS if "scoring" not in case})
)
def test_every_gold_answer_is_right_itself(gold: str) -> None:
    assert is_correct(gold, gold, "math")


def test_no_final_answer_is_wrong() -> None:
    assert not is_correct(None, "7", "math")
    assert not is_correct(None, "A", "choice")


def answers(*rows: tuple[int, int, str, str]) -> pl.DataFrame:
    columns = ["problem_id", "repeat", "answer_text", "finish_reason"]
    return pl.DataFrame(rows, schema=columns, orient="row")


PROBLEMS = pl.DataFrame({"problem_id": [0], "gold": ["7"]})


def test_an_answer_cut_off_by_the_budget_is_wrong() -> None:
    frame = answers((0, 0, r"\boxed{7}", "stop"), (0, 1, r"\boxed{7}", "length"))
    assert score(frame, PROBLEMS, "math")["correct"].to_list() == [True, False]


def test_a_missing_answer_is_an_error_not_a_wrong_one() -> None:
    with pytest.raises(UserError, match=r"x\.parquet: 1 answers"):
        check_complete(answers((0, 0, "", "stop")), PROBLEMS, 2, Path("x.parquet"))


def test_a_doubled_answer_is_an_error() -> None:
    doubled = answers((0, 0, "", "stop"), (0, 0, "", "stop"))
    with pytest.raises(UserError, match="1 different"):
        check_complete(doubled, PROBLEMS, 2, Path("x.parquet"))
