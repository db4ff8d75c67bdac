"""Margins from known log probabilities."""

from math import log

import pytest

from stages.engine.client import margin

pytestmark = pytest.mark.unit


def entry(probability: float, rank: int) -> dict[str, object]:
    return {"logprob": log(probability), "rank": rank, "decoded_token": "x"}


def test_the_margin_is_the_distance_of_the_two_likeliest() -> None:
    assert margin({"5": entry(0.7, 1), "6": entry(0.2, 2)}) == pytest.approx(0.5)


def test_the_token_that_was_written_does_not_matter() -> None:
    position = {"9": entry(0.01, 7), "5": entry(0.6, 1), "6": entry(0.3, 2)}
    assert margin(position) == pytest.approx(0.3)


def test_nothing_predicts_the_first_token() -> None:
    assert margin(None) is None
