"""Answers to read: whose text is whose, and which answers the report shows."""

from typing import Any

import polars as pl
import pytest

from stages.analysis.reading import Part, decoded, parts, problem_order, to_read, within

pytestmark = pytest.mark.unit

WORDS = ["One", ",", "two", "so", "three", "four"]


def decode(ids: Any) -> str:
    """As some tokenizers do: a blank between words, none before the first."""
    return " ".join(WORDS[i] for i in ids)


def segment(model: str, n_tokens: int, cue: str | None = None, stage: str = "reasoning") -> Any:
    return {"model": model, "n_tokens": n_tokens, "cue": cue, "stage": stage, "wall_s": 0.5}


ANSWER = {
    "problem_id": 0, "repeat": 0, "token_ids": [0, 1, 2, 3, 4, 5], "finish_reason": "stop",
    "wall_s": 1.5, "n_switches": 2,
    "segments": [
        segment("large", 4, "so "), segment("small", 1), segment("small", 1, None, "answer"),
    ],
}  # fmt: skip


def test_an_answers_text_is_cut_where_the_models_hand_over() -> None:
    assert parts(ANSWER, decode) == [
        Part("large", "reasoning", "One , two so", "so", 4, 0.5),
        Part("small", "reasoning", " three", None, 1, 0.5),
        Part("small", "answer", " four", None, 1, 0.5),
    ]


def test_the_parts_together_are_the_whole_text() -> None:
    assert "".join(part.text for part in parts(ANSWER, decode)) == decode(range(6))


def test_a_part_keeps_the_blank_that_its_first_token_has_only_behind_another() -> None:
    assert decoded(range(6), 4, 6, decode) == " three four"


def scored(*rows: tuple[str, str, int, bool]) -> pl.DataFrame:
    schema = ["method", "benchmark", "problem_id", "correct"]
    table = pl.DataFrame(list(rows), schema=schema, orient="row")
    return table.with_columns(repeat=pl.lit(0), predicted=pl.lit("1"), gold=pl.lit("1"))


SCORES = scored(
    ("large", "a", 0, True), ("large", "a", 1, True), ("relay", "a", 0, True),
    ("relay", "a", 1, False), ("large", "b", 0, True), ("relay", "b", 0, True),
)  # fmt: skip


def test_benchmarks_take_turns_and_what_a_method_got_wrong_comes_first() -> None:
    assert problem_order(SCORES) == [("a", 1), ("b", 0), ("a", 0)]


def test_only_what_fits_is_kept() -> None:
    rows: list[Any] = [{"text": "x" * 100}, {"text": "y" * 100}]
    assert within(rows, 150) == rows[:1]
    assert within(rows, 1000) == rows


def test_a_problem_comes_with_every_methods_answer_and_verdict() -> None:
    answers = pl.DataFrame([ANSWER, {**ANSWER, "problem_id": 1}])
    sets = {"a": pl.DataFrame({"problem_id": [0, 1], "prompt": ["P0", "P1"]})}
    scores = SCORES.filter(benchmark="a")
    found = list(to_read(scores, sets, {(m, "a"): answers for m in ("large", "relay")}, decode))
    assert [(one["id"], one["problem"]) for one in found] == [(1, "P1"), (0, "P0")]
    verdicts = {method: answer["correct"] for method, answer in found[0]["answers"].items()}
    assert verdicts == {"large": True, "relay": False}
