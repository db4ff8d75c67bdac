"""R2R's state machine: S writes, L writes the tokens that are routed to it. A character a token."""

from collections.abc import Sequence
from typing import Any

import pytest

from stages.methods import of_kind
from stages.methods.base import Completion, Machine, Request, Setting

pytestmark = pytest.mark.unit
LINE = {"kind": "token_route", "large": "large", "small": "small", "cues": "none"}


def decode(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def encode(text: str) -> list[int]:
    return list(map(ord, text))


def machine(budget: int = 100, **line: Any) -> Machine:
    method = of_kind({**LINE, "router": "entropy", **line})
    return method.start(Setting(encode("<Q:"), budget, decode, encode))


def kept(text: str) -> Completion:
    """What S wrote before a token that is L's."""
    return Completion(encode(text), text, "stop", routed=True)


def one(text: str) -> Completion:
    """A token of L."""
    return Completion(encode(text), text, "length")


def ended(text: str) -> Completion:
    return Completion([*encode(text), 0], text, "stop")


def play(route: Machine, *completions: Completion) -> Request | None:
    for completion in completions:
        assert route.next_request()
        route.feed(completion, wall_s=1.0)
    return route.next_request()


def segments(route: Machine) -> list[tuple[str, str, int]]:
    return [(one.model, one.stage, one.n_tokens) for one in route.answer.segments]


def test_s_begins_and_is_routed_by_the_methods_router_and_threshold() -> None:
    request = play(machine(router="a.safetensors", threshold=0.4))
    assert request
    assert (request.engine, request.max_tokens, request.stop) == ("small", 100, ())
    assert request.route
    assert (request.route.router, request.route.threshold) == ("a.safetensors", 0.4)


def test_the_mark_is_the_token_that_opens_the_chat() -> None:
    request = play(machine())
    assert request
    assert request.route
    assert request.route.mark == ord("<")


def test_at_a_routed_token_l_writes_one_token_and_is_not_routed() -> None:
    request = play(machine(), kept("ab"))
    assert request
    assert (request.engine, request.max_tokens, request.route) == ("large", 1, None)
    assert decode(request.prompt_ids) == "<Q:ab"


def test_s_goes_on_behind_ls_token() -> None:
    request = play(machine(), kept("ab"), one("c"))
    assert request
    assert (request.engine, request.max_tokens) == ("small", 97)
    assert decode(request.prompt_ids) == "<Q:abc"


def test_ls_tokens_in_a_row_are_one_segment() -> None:
    route = machine()
    play(route, kept("ab"), one("c"), kept(""), one("d"), kept("e"))
    assert segments(route) == [
        ("small", "reasoning", 2),
        ("large", "reasoning", 2),
        ("small", "reasoning", 1),
    ]
    assert route.answer.n_switches == 2


def test_the_time_of_a_request_that_kept_nothing_counts_for_the_next_segment() -> None:
    route = machine()
    play(route, kept(""), one("c"))
    assert [one.wall_s for one in route.answer.segments] == [2.0]


def test_the_answer_stage_begins_behind_the_tag_whoever_completes_it() -> None:
    route = machine()
    play(route, kept("a</think"), one(">"), ended("b"))
    assert route.answer.answer_start == len("a</think>")
    assert segments(route) == [
        ("small", "reasoning", 8),
        ("large", "reasoning", 1),
        ("small", "answer", 2),
    ]


def test_tokens_are_routed_in_the_answer_stage_too() -> None:
    request = play(machine(), kept("a</think>b"))
    assert request
    assert request.engine == "large"


@pytest.mark.parametrize("last", [ended("b"), Completion([0], "", "stop")])
def test_the_answer_ends_where_either_ends_it(last: Completion) -> None:
    route = machine()
    before = [kept("a")] if len(last.token_ids) == 1 else []
    assert play(route, *before, last) is None
    assert route.answer.finish_reason == "stop"


def test_the_answer_ends_with_the_budget() -> None:
    route = machine(budget=3)
    assert play(route, kept("ab"), one("c")) is None
    assert route.answer.finish_reason == "length"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"router": "a.safetensors", "threshold": 1.5}, "between 0 and 1"),
        ({"threshold": -0.1}, "threshold: Input should be greater than or equal to 0"),
        ({"router": ""}, "router: String should have at least 1 character"),
    ],
)
def test_a_threshold_or_router_that_cannot_be_is_refused(
    line: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        machine(**line)


def test_an_entropy_may_be_above_1() -> None:
    assert play(machine(threshold=1.5))
