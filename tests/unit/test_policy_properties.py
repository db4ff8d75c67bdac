"""What holds for any policy on any text, in the bundled tokenizer's tokens."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.methods.base import HALF, Answer, Completion, Request
from stages.methods.matching import CueSet
from stages.methods.offline import setting
from stages.methods.policies import Policy
from stages.methods.relay import Relay
from tests.conftest import TOKENIZER, encode
from tests.unit.test_policies import likeliest
from tests.unit.test_relay_properties import MARKS, decode, served, texts

pytestmark = pytest.mark.unit
RULES = setting(TOKENIZER, CueSet(("Thus", "Now", "So ")), 5, MARKS)
TAG = encode(f"\n{MARKS.think_end}")

margins = st.sampled_from([0.1, 0.5, 0.9])
counting = st.sampled_from(["content", "all"])
leaves = st.one_of(
    st.sampled_from([{"at": "cue"}, {"at": "sentence"}]),
    st.fixed_dictionaries({"at": st.just("token"), "n": st.integers(1, 5)}),
    st.fixed_dictionaries({"at": st.just("probe"), "entropy": st.sampled_from([0.2, 0.6])}),
)
stays = st.one_of(
    st.sampled_from([{"until": "sentence"}, {"until": "end"}]),
    st.fixed_dictionaries({"until": st.just("unsure"), "margin": margins, "tokens": counting}),
)
policies = st.fixed_dictionaries(
    {"starts": st.sampled_from(["large", "small"]), "leave": leaves, "stay": stays},
    optional={
        "early": st.fixed_dictionaries({"margin": margins, "tokens": counting}),
        "plan": st.integers(1, 9),
        "loop": st.integers(2, 3),
        "answer_margin": margins,
    },
).map(Policy.model_validate)
scripts = st.lists(st.tuples(texts, st.lists(margins, min_size=1)), min_size=1)


def complete(request: Request, text: str, sureness: list[float]) -> Completion:
    """What an engine returns that writes `text`, so sure of its tokens, over and over."""
    ids = encode(f"{text.replace(HALF, '')}{MARKS.think_end}")[: request.max_tokens]
    found = served(ids, request.stop) or Completion(ids, decode(ids), "length")
    n = len(found.token_ids)
    sure = tuple(likeliest(sureness[i % len(sureness)]) for i in range(n))
    return replace(found, likeliest=sure if request.logprobs else ())


def played(
    script: list[tuple[str, list[float]]], policy: Policy, budget: int
) -> Iterator[tuple[Request, Completion, list[int], Answer]]:
    """(request, completion, the tokens that were kept before it, the answer so far), in turn."""
    machine = Relay(replace(RULES, budget=budget), "large", "small", policy)
    n = 0
    while request := machine.next_request():
        asked = replace(request, prompt_ids=list(request.prompt_ids))
        completion = complete(asked, *script[n] if n < len(script) else ("", [0.9]))
        before = list(machine.answer.token_ids)
        machine.feed(completion, 1.0)
        yield asked, completion, before, machine.answer
        n += 1


def last(script: Any, policy: Policy, budget: int) -> Answer:
    *_, (*_, answer) = played(script, policy, budget)
    return answer


@given(scripts, policies, st.integers(1, 200))
def test_what_is_kept_of_a_completion_is_its_beginning_and_nothing_else(
    script: Any, policy: Policy, budget: int
) -> None:
    for request, completion, before, answer in played(script, policy, budget):
        assert request.prompt_ids == before
        kept = answer.token_ids[len(before) :]
        assert answer.token_ids[: len(before)] == before
        own = kept[: -len(TAG)] if kept[-len(TAG) :] == TAG else kept
        assert completion.token_ids[: len(own)] == own


@given(scripts, policies, st.integers(1, 200))
def test_only_a_tentative_request_loses_more_than_a_blank(
    script: Any, policy: Policy, budget: int
) -> None:
    for request, completion, before, answer in played(script, policy, budget):
        if not request.tentative:
            kept = decode(answer.token_ids[len(before) :])
            assert kept.startswith(completion.text.rstrip(" "))


@given(scripts, policies, st.integers(1, 200))
def test_tokens_and_times_add_up(script: Any, policy: Policy, budget: int) -> None:
    answer = last(script, policy, budget)
    n = answer.tokens_by("large") + answer.tokens_by("small")
    assert len(answer.token_ids) - n in (0, len(TAG))
    assert n <= budget


@given(scripts, policies, st.integers(1, 200))
def test_no_model_goes_on_inside_a_character_or_tag(
    script: Any, policy: Policy, budget: int
) -> None:
    for request, _, _, answer in played(script, policy, budget):
        if not answer.answer_start or len(request.prompt_ids) < answer.answer_start:
            text = decode(request.prompt_ids)
            assert not text.endswith(HALF)
            assert MARKS.think_end not in text


@given(scripts, policies, st.integers(1, 200))
def test_the_same_completions_give_the_same_answer(
    script: Any, policy: Policy, budget: int
) -> None:
    assert last(script, policy, budget) == last(script, policy, budget)
