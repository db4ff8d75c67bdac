"""Final answers: found, compared, and never scored with holes."""

import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from stages.analysis.boxes import last_boxed
from stages.analysis.choices import choice_letter
from stages.analysis.grading import is_correct, score, without_final
from stages.config.schema import Scoring
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
        (r"\boxed{1}, and \boxed{2", "1"),
        (r"**Answer:** the result is $\boxed{4}$. I hope it helps.", "4"),
        (r"\boxed{\text{a \{set\}}} ", r"\text{a \{set\}}"),
        (r"\boxed{\left\{ x = 1 \right.}", r"\left\{ x = 1 \right."),
        (r"\boxed{1} and $\boxed{2}$", "1, 2"),
        (r"\boxed{1}, \boxed{1}", "1"),
        (r"\boxed{4} in \boxed{}", "4"),
        (r"$\boxed 7$, so", "7"),
        (r"$\boxed\frac{1}{2}$", r"\frac{1}{2}"),
        (r"\boxed{3 + \boxed{4}}", r"3 + \boxed{4}"),
        (r"\boxed{", None),
        (r"\boxed{}", None),
        (r"\boxed", None),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_complete_box_that_holds_something_is_the_final_answer(
    text: str, expected: str | None
) -> None:
    assert last_boxed(text) == expected


@pytest.mark.parametrize(
    "case", VARIANTS, ids=lambda case: f"{case['gold']}|{case.get('answer', case.get('text'))}"
)
def test_an_answer_is_judged_by_what_it_means(case: dict[str, Any]) -> None:
    final = last_boxed(case["text"]) if "text" in case else case["answer"]
    verdict = is_correct(final, case["gold"], case.get("scoring", "math"))
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


HOPELESS = {
    "a tower of powers": "9^{9^{9^9}}",
    "ten thousand braces": "{" * 10_000 + "7" + "}" * 10_000,
    "ten thousand roots": r"\sqrt{" * 10_000,
    "an integer of 5,000 digits": "9" * 5_000,
    "an integer of 1,500 digits": "9" * 1_500,
    "a decimal of 5,000 digits": "0." + "0" * 4_990 + "1",
    "a repeating decimal of 4,900 digits": r"0.\overline{" + "3" * 4_900 + "}",
    "a base of 4,900 digits": "1_" + "2" * 4_900,
    "the factorial of a billion": "(10^9)!",
    "a long sum": "1+" * 2_000 + "1",
    "blanks": " " * 50_000 + "8",
    "backslashes": "\\" * 20_000,
    "boxes": r"\boxed{" * 10_000,
    "half a character": "\ud800",
    "a division by zero": r"\frac{1}{0}",
    "no number": r"\infty - \infty",
}


@pytest.mark.parametrize("scoring", ["math", "choice"])
@pytest.mark.parametrize("answer", HOPELESS.values(), ids=HOPELESS)
def test_what_nothing_can_work_out_is_wrong_at_once(answer: str, scoring: Scoring) -> None:
    start = time.monotonic()
    final = last_boxed(rf"$\boxed{{{answer}}}$")
    assert not is_correct(final, "7" if scoring == "math" else "A", scoring)
    assert not is_correct(answer, r"\sqrt{2}" if scoring == "math" else "A", scoring)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("answer", ["9^{9^{9^9}}", "9" * 5_000, r"2^{82589933}-1"])
def test_what_nothing_can_work_out_equals_itself(answer: str) -> None:
    assert is_correct(answer, answer, "math")


def test_two_letters_are_no_letter() -> None:
    assert choice_letter("(A) and (B)") is None
    assert choice_letter("(A)") == "A"


def answers(*rows: tuple[int, int, str, str]) -> pl.DataFrame:
    columns = ["problem_id", "repeat", "answer_text", "finish_reason"]
    return pl.DataFrame(rows, schema=columns, orient="row")


PROBLEMS = pl.DataFrame({"problem_id": [0], "gold": ["7"]})


def test_an_answer_cut_off_by_the_budget_is_wrong() -> None:
    frame = answers((0, 0, r"\boxed{7}", "stop"), (0, 1, r"\boxed{7}", "length"))
    assert score(frame, PROBLEMS, "math")["correct"].to_list() == [True, False]


def test_answers_without_a_final_answer_are_said_in_one_line() -> None:
    rows = [("large", "7"), ("large", None), ("small", None), ("small", None)]
    scores = pl.DataFrame(rows, schema=["method", "predicted"], orient="row")
    scores = scores.with_columns(benchmark=pl.lit("b"))
    assert without_final(scores, n_cut=2) == (
        "3 of 4 answers have no final answer and count as wrong, 2 of them cut off by the budget; "
        "most: 2 of small on b"
    )
    assert without_final(scores.filter(predicted="7"), n_cut=0) is None


def test_a_missing_answer_is_an_error_not_a_wrong_one() -> None:
    with pytest.raises(UserError, match=r"x\.parquet: 1 answers"):
        check_complete(answers((0, 0, "", "stop")), PROBLEMS, 2, Path("x.parquet"))


def test_a_doubled_answer_is_an_error() -> None:
    doubled = answers((0, 0, "", "stop"), (0, 0, "", "stop"))
    with pytest.raises(UserError, match="1 different"):
        check_complete(doubled, PROBLEMS, 2, Path("x.parquet"))
