"""What counts as an engine's answer, by replies as the real server sends them."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from stages.engine.replies import (
    BadReplyError,
    margin,
    margins_in,
    text_completion,
    tokens_completion,
)
from stages.methods.base import Completion, Request
from tests.conftest import encode

pytestmark = pytest.mark.unit
REQUEST = Request("large", encode("Q:"), max_tokens=10, stop=("Thus", "</think>"))
USAGE = {
    "prompt_tokens": 2,
    "total_tokens": 5,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 1, "created_cache_tokens": None},
    "completion_tokens_details": None,
}


def reply(**choice: Any) -> dict[str, Any]:
    """The server's reply to a request by token ids, as it differs from a good one."""
    good = {
        "index": 0,
        "finish_reason": "stop",
        "stop_reason": "Thus",
        "token_ids": [7, 8, 9],
        "text": " so Thus",
        "logprobs": None,
        "routed_experts": None,
    }
    return {
        "request_id": "generate-tokens-1",
        "model": "model",
        "usage": USAGE,
        "prompt_logprobs": None,
        "choices": [good | choice],
    }


def without(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}


def read(content: Any) -> Completion:
    text = content if isinstance(content, str) else json.dumps(content)
    return tokens_completion(text.encode(), REQUEST)


def test_a_stop_string_and_the_token_limit_end_a_completion() -> None:
    assert read(reply()) == Completion([7, 8, 9], " so Thus", "stop", "Thus", 1)
    cut = reply(finish_reason="length", stop_reason=None, text=" so")
    assert read(cut) == Completion([7, 8, 9], " so", "length", None, 1)


def test_an_engine_that_drafts_says_what_each_step_accepted() -> None:
    counted = {"speculative_decoding": {"mean_acceptance_length": 2.5, "per_step_accepted": [3, 0]}}
    assert read(reply() | {"metrics": counted}).accepted == (3, 0)


@pytest.mark.parametrize(
    "counted",
    [None, {"speculative_decoding": None}, {"speculative_decoding": {"per_step_accepted": None}}],
)
def test_a_request_without_a_step_that_drafts_is_an_answer_too(counted: Any) -> None:
    assert read(reply() | {"metrics": counted}).accepted == ()


@pytest.mark.parametrize("stop_reason", [None, 2])
def test_a_stop_token_is_the_models_own_end(stop_reason: int | None) -> None:
    assert read(reply(stop_reason=stop_reason)).stop is None


@pytest.mark.parametrize(
    "reason", ["abort", "error", "content_filter", "repetition", "tool_calls", None, ""]
)
def test_a_completion_that_was_broken_off_is_no_answer(reason: str | None) -> None:
    with pytest.raises(BadReplyError, match=r"finish_reason: .*'stop' or 'length'") as caught:
        read(reply(finish_reason=reason, stop_reason=None))
    assert repr(reason) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<html>\n<body>502 Bad Gateway</body></html>", "Invalid JSON.*502 Bad Gateway"),
        ("", "Invalid JSON"),
        ("null", "not None"),
        ("[]", r"not \[\]"),
        ("{}", "choices: Field required"),
        (reply() | {"choices": []}, "choices: List should have at least 1 item"),
        (reply() | {"choices": None}, "choices: .*array, not None"),
        (reply() | {"choices": [None]}, "choices.0"),
        (without(reply(), "usage"), "usage: Field required"),
        (reply() | {"usage": None}, "usage"),
        (reply() | {"choices": [without(reply()["choices"][0], "finish_reason")]}, "finish_reason"),
        (reply() | {"choices": [without(reply()["choices"][0], "stop_reason")]}, "stop_reason"),
        (reply(token_ids=[]), "token_ids: List should have at least 1 item"),
        (reply(token_ids=None), "token_ids"),
        (reply(token_ids=[5.0]), "token_ids.0: .*integer"),
        (reply(token_ids=["5"]), "token_ids.0"),
        (reply(token_ids=[True]), "token_ids.0"),
        (reply(token_ids=[5, -1]), "token_ids.1"),
        (reply(token_ids=[2**64]), "token_ids.0"),
        (reply(text=None), "text"),
        (json.dumps(reply()).replace(" so Thus", "\\ud83d"), "Invalid JSON"),
        (reply(token_ids=[7] * 11), "11 tokens, 10 were asked for"),
        (reply(stop_reason="never asked"), "stopped at 'never asked'"),
        (reply(text=" so"), "stopped at 'Thus', but its text ends with ' so'"),
        (reply(finish_reason="length"), "stopped at 'Thus'"),
    ],
)
def test_a_reply_that_is_no_completion_is_told_in_one_line(content: Any, message: str) -> None:
    with pytest.raises(BadReplyError, match=message) as caught:
        read(content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def positions(*found: tuple[float, ...]) -> dict[str, Any]:
    """Log probabilities as the server has them: the token that was drawn, then the likeliest."""
    return {
        "content": [
            {"token": "x", "logprob": one[0], "top_logprobs": [{"logprob": p} for p in one]}
            for one in found
        ]
    }


def read_sure(content: dict[str, Any]) -> Completion:
    return tokens_completion(json.dumps(content).encode(), replace(REQUEST, logprobs=3))


def test_the_likeliest_of_each_position_are_in_descending_order() -> None:
    found = positions((-2.0, -0.1, -3.0), (-0.2, -1.0, -4.0), (-0.5, -1.5))
    expected = ((-0.1, -2.0, -3.0), (-0.2, -1.0, -4.0), (-0.5, -1.5))
    assert read_sure(reply(logprobs=found)).likeliest == expected


@pytest.mark.parametrize(
    ("logprobs", "message"),
    [
        (None, "log probabilities of 0 tokens, 3 were written"),
        (positions((-0.1, -2.0)), "log probabilities of 1 tokens, 3 were written"),
        (positions(*[(-0.1,)] * 3), "top_logprobs: List should have at least 2 items"),
    ],
)
def test_a_reply_without_the_probabilities_that_were_asked_for_is_none(
    logprobs: Any, message: str
) -> None:
    with pytest.raises(BadReplyError, match=message):
        read_sure(reply(logprobs=logprobs))


def chat(content: Any, **choice: Any) -> dict[str, Any]:
    """The server's reply to a request by text."""
    one = without(reply()["choices"][0], "text", "token_ids") | choice
    return {"choices": [one | {"message": {"content": content}}], "usage": USAGE}


def test_the_ids_of_a_reply_by_text_are_those_of_its_text() -> None:
    content = json.dumps(chat(" so Thus")).encode()
    wanted = Completion(encode(" so Thus"), " so Thus", "stop", "Thus", 1)
    assert text_completion(content, REQUEST, encode) == wanted


@pytest.mark.parametrize(
    "content",
    [chat(None), chat(""), chat(" so"), chat(" so Thus", finish_reason="abort"), {"choices": []}],
)
def test_a_reply_by_text_is_judged_alike(content: Any) -> None:
    with pytest.raises(BadReplyError):
        text_completion(json.dumps(content).encode(), REQUEST, encode)


def entry(probability: float, rank: int) -> dict[str, Any]:
    return {"logprob": math.log(probability), "rank": rank, "decoded_token": None}


def test_the_margin_is_the_distance_of_the_two_likeliest() -> None:
    assert margin({"5": entry(0.7, 1), "6": entry(0.2, 2)}) == pytest.approx(0.5)


def test_the_token_that_was_written_does_not_matter() -> None:
    position = {"9": entry(0.01, 7), "5": entry(0.6, 1), "6": entry(0.3, 2)}
    assert margin(position) == pytest.approx(0.3)


GOOD = {"5": entry(0.7, 1), "6": entry(0.2, 2)}
ODD: dict[str, Any] = {
    "null": None,
    "not a number": {**GOOD, "5": {"logprob": math.nan, "rank": 1}},
    "a logarithm that is null": {**GOOD, "6": {"logprob": None, "rank": 2}},
    "no second rank": {"5": entry(0.7, 1), "6": entry(0.2, 3)},
    "no first rank": {"6": entry(0.2, 2)},
    "no entry": {},
    "ranks the wrong way round": {"5": entry(0.2, 1), "6": entry(0.7, 2)},
    "a probability above 1": {**GOOD, "5": {"logprob": 3.0, "rank": 1}},
    "a huge logarithm": {**GOOD, "5": {"logprob": 1e9, "rank": 1}},
    "a list": [0.7, 0.2],
    "a number": 0.5,
}


def margins(*positions: Any, n_tokens: int | None = None) -> list[float | None]:
    content = json.dumps({"prompt_logprobs": positions}).encode()
    return margins_in(content, len(positions) if n_tokens is None else n_tokens)


def test_nothing_predicts_the_first_token() -> None:
    assert margins(None, GOOD) == [None, pytest.approx(0.5)]


def test_certainty_may_be_rounded_up() -> None:
    sure = {"5": {"logprob": 1e-8, "rank": 1}, "6": {"logprob": -9999.0, "rank": 2}}
    assert margins(None, sure) == [None, pytest.approx(1)]


@pytest.mark.parametrize("odd", ODD)
def test_a_position_without_a_margin_is_named(odd: str) -> None:
    with pytest.raises(BadReplyError, match=r"^position 2: ") as caught:
        margins(None, GOOD, ODD[odd], GOOD)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_tokens", [1, 3])
def test_a_position_too_few_or_too_many_is_refused(n_tokens: int) -> None:
    with pytest.raises(BadReplyError, match=f"of 2 tokens, the prompt has {n_tokens}"):
        margins(None, GOOD, n_tokens=n_tokens)


def test_a_first_token_with_a_margin_is_refused() -> None:
    with pytest.raises(BadReplyError, match="position 0"):
        margins(GOOD, GOOD)


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"null", b"[]", b"{}", b'{"prompt_logprobs": null}', b"\xff"]
)
def test_a_reply_without_margins_is_told_in_one_line(content: bytes) -> None:
    with pytest.raises(BadReplyError) as caught:
        margins_in(content, 3)
    assert "\n" not in str(caught.value)
