"""A policy on a trace, by tables, against the relay's own machine on the same trace."""

from collections.abc import Sequence
from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.analysis.walk import Walk, Walked
from stages.methods.base import Answer, Completion, Request, Setting
from stages.methods.matching import CueMatching, CueSet
from stages.methods.offline import TraceEngine, setting
from stages.methods.policies import PAPER, Policy
from stages.methods.relay import Relay
from tests.conftest import TOKENIZER, encode
from tests.unit.test_policy_properties import counting, leaves
from tests.unit.test_relay_properties import MARKS, WORDS, texts

pytestmark = pytest.mark.unit
END = "<|im_end|>"

margins = st.sampled_from([0.25, 0.5, 0.75])
stays = st.one_of(
    st.sampled_from([{"until": "sentence"}, {"until": "end"}]),
    st.fixed_dictionaries(
        {
            "until": st.just("unsure"),
            "margin": margins,
            "of": st.sampled_from(["lowest", "mean"]),
            "tokens": counting,
        }
    ),
)
policies = st.fixed_dictionaries(
    {"starts": st.sampled_from(["large", "small"]), "leave": leaves, "stay": stays},
    optional={
        "early": st.fixed_dictionaries({"margin": margins, "tokens": counting}),
        "plan": st.integers(1, 9),
    },
).map(Policy.model_validate)
traces = st.tuples(texts, st.sampled_from(["", END, f"{MARKS.think_end}\n\n7{END}"])).map("".join)
sureness = st.lists(st.sampled_from([0.1, 0.4, 0.6, 0.9]), min_size=1, max_size=50)
rules = st.builds(
    lambda cues, matching, n: setting(TOKENIZER, CueSet(cues, matching), n, MARKS),
    st.lists(st.sampled_from(WORDS), min_size=1, unique=True).map(tuple),
    st.sampled_from(["boundary", "substring"]),
    st.integers(0, 8),
)


class SureEngine(TraceEngine):
    """A trace's tokens, each with its margin as an engine's two likeliest tokens would say it."""

    def __init__(self, ids: Sequence[int], margins: Sequence[float]) -> None:
        super().__init__(ids, TOKENIZER)
        self.likeliest = [(log((1 + one) / 2), log((1 - one) / 2)) for one in margins]

    def complete(self, request: Request) -> Completion:
        first, most = len(request.prompt_ids), request.max_tokens
        whole = super().complete(request)
        if len(whole.token_ids) > most:
            whole = Completion(whole.token_ids[:most], "", "length")
        found = tuple(self.likeliest[first : first + len(whole.token_ids)])
        return replace(whole, likeliest=found if request.logprobs else ())


def relayed(
    ids: Sequence[int], sure: Sequence[float], policy: Policy, rules: Setting
) -> list[tuple[str, str, int]]:
    engine = SureEngine(ids, sure)
    machine = Relay(replace(rules, budget=len(ids)), "large", "small", policy)
    while (request := machine.next_request()) and len(request.prompt_ids) < len(ids):
        machine.feed(engine.complete(request), 0.0)
    return written(machine.answer)


def walked(
    ids: Sequence[int], sure: Sequence[float], policy: Policy, rules: Setting
) -> list[tuple[str, str, int]]:
    return written(Walk(Walked(ids, np.array(sure), TOKENIZER, rules), policy).answer())


def written(answer: Answer) -> list[tuple[str, str, int]]:
    return [(one.model, one.stage, one.n_tokens) for one in answer.segments]


@given(traces, sureness, policies, rules)
def test_a_walk_gives_what_the_relays_machine_gives(
    text: str, sure: list[float], policy: Policy, rules: Setting
) -> None:
    ids = encode(text)
    margins = [sure[i % len(sure)] for i in range(len(ids))]
    if ids:
        assert walked(ids, margins, policy, rules) == relayed(ids, margins, policy, rules)


@given(traces, st.integers(0, 8), st.sampled_from(["boundary", "substring"]))
def test_the_papers_relay_needs_no_margins(text: str, least: int, matching: CueMatching) -> None:
    cues = setting(TOKENIZER, CueSet((*WORDS, "So ", "now "), matching), least, MARKS)
    if ids := encode(text):
        sure = [0.5] * len(ids)
        assert walked(ids, sure, PAPER, cues) == relayed(ids, sure, PAPER, cues)


def by_default(text: str, margins: dict[str, float], **more: Any) -> list[tuple[str, str, int]]:
    """Who writes what where S writes from the start, and L the unsure digits."""
    given = {"starts": "small", "stay": {"until": "end"}, "early": {"margin": 0.5}}
    policy = Policy.model_validate(given | {"leave": {"at": "token"}} | more)
    ids = encode(text)
    sure = [margins.get(TOKENIZER.decode([one]).strip(), 0.9) for one in ids]
    return walked(ids, sure, policy, setting(TOKENIZER, CueSet(()), 5, MARKS))


def test_the_large_model_writes_the_unsure_digit_alone() -> None:
    before, after = "We add 3 and ", " to it."
    n = [len(encode(part)) for part in (before.rstrip(), " 8", after)]
    assert by_default(f"{before}8{after}", {"8": 0.2}) == [
        ("small", "reasoning", n[0] + n[1] - 1),
        ("large", "reasoning", 1),
        ("small", "reasoning", n[2]),
    ]
