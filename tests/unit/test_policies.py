"""The rules of who writes when, case by case, with scripted engines: one character is one token."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import pytest

from stages.config.params import load
from stages.config.selection import skip_reason
from stages.methods import of_kind
from stages.methods.base import Completion, Marks, Request, Setting
from stages.methods.policies import Policy
from stages.methods.policies.returning import whole
from stages.methods.relay import Relay
from tests.unit.test_relay import SETTING, THINK_END, cut, decode, encode, ended, play, stopped

pytestmark = pytest.mark.unit
LINE = {"kind": "relay", "large": "large", "small": "small", "cues": "none"}
EARLY = {"margin": 0.5}
BY_DEFAULT: dict[str, Any] = {
    "starts": "small",
    "stay": {"until": "end"},
    "leave": {"at": "token"},
    "early": EARLY,
}
HALF_OF_E = 233  # stands for half a character in `in_halves`


def relay(setting: Setting = SETTING, **policy: Any) -> Relay:
    return Relay(setting, "large", "small", Policy.model_validate(policy))


def unsure(completion: Completion, *places: int, margin: float = 0.1) -> Completion:
    """A completion of which the model was sure, but for the tokens at `places`."""
    sure, other = likeliest(0.9), likeliest(margin)
    n = len(completion.token_ids)
    return replace(completion, likeliest=tuple(other if i in places else sure for i in range(n)))


def likeliest(margin: float) -> tuple[float, ...]:
    """Log probabilities of two tokens with this margin."""
    return log((1 + margin) / 2), log(max(1e-9, (1 - margin) / 2))


def written(machine: Relay) -> str:
    return decode(machine.answer.token_ids)


def by(machine: Relay) -> list[tuple[str, int]]:
    return [(segment.model, segment.n_tokens) for segment in machine.answer.segments]


def test_the_papers_relay_asks_for_no_probabilities_and_drops_nothing() -> None:
    requests = play(relay(), stopped("It is 4. Thus", "Thus"), stopped(" four.", "."))
    assert all(not one.logprobs and not one.tentative for one in requests)


def test_small_returns_before_an_unsure_digit_and_large_goes_on_from_there() -> None:
    machine = relay(early=EARLY)
    segment = unsure(stopped(" it is 58.", "."), 7)
    requests = play(machine, stopped("It is 4. Thus", "Thus"), segment)
    assert written(machine) == "It is 4. Thus it is "
    assert requests[-1].engine == "large"
    assert requests[-1].max_tokens == 200 - len("It is 4. Thus it is ")


def test_small_is_asked_for_its_probabilities_and_may_lose_what_it_writes() -> None:
    request = play(relay(early=EARLY), stopped("It is 4. Thus", "Thus"))[-1]
    assert (request.tentative, request.logprobs) == (True, 3)


@pytest.mark.parametrize(("tokens", "kept"), [("content", " it is 58."), ("all", " it")])
def test_an_unsure_word_is_kept_unless_all_tokens_count(tokens: str, kept: str) -> None:
    machine = relay(early={"margin": 0.5, "tokens": tokens})
    play(machine, stopped("It is 4. Thus", "Thus"), unsure(stopped(" it is 58.", "."), 3))
    assert written(machine) == f"It is 4. Thus{kept}"


def test_what_counts_as_content_is_the_familys() -> None:
    machine = relay(replace(SETTING, marks=Marks(content="[A-D]")), early=EARLY)
    segment = unsure(stopped(" 4 is B.", "."), 1, 6)
    play(machine, stopped("It is 4. Thus", "Thus"), segment)
    assert written(machine) == "It is 4. Thus 4 is "


def test_a_margin_at_the_threshold_is_sure_enough() -> None:
    machine = relay(early={"margin": 0.25})
    ids = stopped(" 4.", ".")
    exact = replace(ids, likeliest=((log(0.5), log(0.25)),) * 3)
    assert exp(log(0.5)) - exp(log(0.25)) == 0.25
    play(machine, stopped("It is 4. Thus", "Thus"), exact)
    assert written(machine) == "It is 4. Thus 4."


def test_large_goes_on_with_its_segment_where_nothing_of_small_is_kept() -> None:
    machine = relay(early=EARLY)
    play(machine, stopped("It is 4. Thus", "Thus"), unsure(stopped("5.", "."), 0),
         stopped(" ab 5. Thus", "Thus"))  # fmt: skip
    assert by(machine) == [("large", len("It is 4. Thus ab 5. Thus"))]


def test_the_time_of_what_was_dropped_counts() -> None:
    machine = relay(early=EARLY)
    play(machine, stopped("It is 4. Thus", "Thus"), unsure(stopped("5.", "."), 0),
         stopped(" ab 5. Thus", "Thus"))  # fmt: skip
    assert sum(segment.wall_s for segment in machine.answer.segments) == 3.0


def test_an_unsure_end_of_text_is_left_to_large() -> None:
    machine = relay(early={"margin": 0.5, "tokens": "all"})
    requests = play(machine, stopped("It is 4. Thus", "Thus"), unsure(ended(" so"), 3))
    assert requests[-1].engine == "large"
    assert written(machine) == "It is 4. Thus so"


def test_a_tag_is_never_cut_in_two() -> None:
    machine = relay(early={"margin": 0.5, "tokens": "all"})
    tagged = unsure(stopped(f" so{THINK_END}", THINK_END), 6)
    play(machine, stopped("It is 4. Thus", "Thus"), tagged)
    assert written(machine) == "It is 4. Thus so"


def test_a_character_is_never_cut_in_two() -> None:
    def in_halves(ids: Sequence[int]) -> str:
        text = decode(ids)
        return f"{text[:-1]}\N{REPLACEMENT CHARACTER}" if ids and ids[-1] == HALF_OF_E else text

    assert whole([*encode("so "), HALF_OF_E], THINK_END, in_halves) == encode("so ")


@pytest.mark.parametrize(("margin", "engine"), [(0.8, "small"), (0.3, "large")])
def test_small_stays_while_its_sentences_are_sure(margin: float, engine: str) -> None:
    machine = relay(stay={"until": "unsure", "margin": 0.5})
    sentence = unsure(stopped(" it is 5.", "."), 7, margin=margin)
    assert play(machine, stopped("It is 4. Thus", "Thus"), sentence)[-1].engine == engine


def test_the_mean_margin_may_decide_instead_of_the_lowest() -> None:
    machine = relay(stay={"until": "unsure", "margin": 0.5, "of": "mean"})
    sentence = unsure(stopped(" it is 500.", "."), 7, margin=0.3)
    assert play(machine, stopped("It is 4. Thus", "Thus"), sentence)[-1].engine == "small"


def test_sentences_that_small_stays_for_are_one_segment() -> None:
    machine = relay(stay={"until": "unsure", "margin": 0.5})
    play(machine, stopped("It is 4. Thus", "Thus"), unsure(stopped(" yes.", ".")),
         unsure(stopped(" no.", ".")))  # fmt: skip
    assert by(machine) == [("large", len("It is 4. Thus")), ("small", len(" yes. no."))]


def test_small_by_default_calls_large_for_an_unsure_digit_alone() -> None:
    machine = relay(**BY_DEFAULT)
    requests = play(machine, unsure(stopped("It is 58.", "."), 6), cut("6"),
                    unsure(stopped("3.", ".")))  # fmt: skip
    assert [one.engine for one in requests] == ["small", "large", "small", "small"]
    assert requests[1].max_tokens == 1
    assert written(machine) == "It is 63."
    assert by(machine) == [("small", len("It is ")), ("large", 1), ("small", 2)]


def test_large_may_write_to_the_end_of_the_sentence() -> None:
    machine = relay(**{**BY_DEFAULT, "leave": {"at": "sentence"}})
    requests = play(machine, unsure(stopped("It is 58.", "."), 6), stopped("63 I think.", "."))
    assert requests[1].stop == (*Marks().sentence_ends, THINK_END)
    assert requests[-1].engine == "small"


def test_large_is_asked_for_more_where_its_turn_ends_inside_a_tag() -> None:
    machine = relay(**BY_DEFAULT)
    requests = play(machine, unsure(stopped("It is 58.", "."), 6), cut("<"), cut("</"),
                    cut("</th"), stopped(THINK_END, THINK_END))  # fmt: skip
    assert [one.max_tokens for one in requests[1:5]] == [1, 2, 4, 8]
    assert written(machine) == f"It is {THINK_END}"
    assert machine.answer.answer_start == len(machine.answer.token_ids)


def test_a_turn_that_takes_all_of_the_budget_ends_the_reasoning() -> None:
    machine = relay(replace(SETTING, budget=7), **BY_DEFAULT)
    play(machine, unsure(cut("It is 5"), 6), cut("6"))
    assert machine.answer.finish_reason == "length"
    assert written(machine) == f"It is 6\n{THINK_END}"


@pytest.mark.parametrize(("p", "engine"), [(0.99, "small"), (0.5, "large")])
def test_a_probe_gives_the_next_sentence_to_small_if_it_is_sure_of_its_first_token(
    p: float, engine: str
) -> None:
    machine = relay(leave={"at": "probe", "entropy": 0.3})
    probe = replace(cut("X"), likeliest=((log(p), log(1 - p)),))
    requests = play(machine, stopped("It is 4.", "."), probe)
    assert requests[1] == Request("small", encode("Q:It is 4."), 1, (), True, 20)
    assert requests[-1].engine == engine
    assert written(machine) == "It is 4."


def test_large_writes_a_plan_first() -> None:
    machine = relay(plan=4, starts="small", stay={"until": "end"})
    first, second = play(machine, cut("Plan"))
    assert (first.engine, first.max_tokens, first.stop) == ("large", 4, (THINK_END,))
    assert (second.engine, second.stop) == ("small", (THINK_END,))


def test_no_cue_counts_in_a_plan() -> None:
    machine = relay(plan=9)
    requests = play(machine, cut("So Thus So"[:9]))
    assert requests[-1].engine == "large"
    assert requests[-1].stop == (*SETTING.cues, THINK_END)


def test_large_takes_over_when_small_repeats_itself() -> None:
    machine = relay(starts="small", stay={"until": "end"}, loop=3, leave={"at": "sentence"})
    again = stopped(" Again.", ".")
    requests = play(machine, again, stopped(" No.", "."), again, again)
    assert [one.engine for one in requests] == ["small"] * 4 + ["large"]


@pytest.mark.parametrize(("margin", "engine"), [(0.3, "large"), (0.8, None)])
def test_an_unsure_answer_is_written_by_large(margin: float, engine: str | None) -> None:
    machine = relay(answer_margin=0.5)
    requests = play(machine, stopped(THINK_END, THINK_END), unsure(ended("42"), 0, margin=margin))
    asked = requests[2].engine if len(requests) > 2 else None
    assert asked == engine
    assert written(machine) == THINK_END + ("" if engine else "42\0")


def test_large_answers_in_place_of_small_and_not_again() -> None:
    machine = relay(answer_margin=0.5)
    play(machine, stopped(THINK_END, THINK_END), unsure(ended("42"), 0), ended("43"))
    assert written(machine) == f"{THINK_END}43\0"
    assert by(machine)[-1] == ("large", 3)


# Lines of params.yaml.


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"leave": {"at": "noon"}}, "leave: .*'cue', 'sentence', 'token', 'probe'"),
        ({"leave": {"at": "token", "n": 0}}, r"leave\.token\.n: .*greater than or equal to 1"),
        ({"early": {"margin": 1.5}}, r"early\.margin: .*less than or equal to 1"),
        ({"early": {"margin": 0}}, r"early\.margin: .*greater than 0"),
        ({"cues": "mined", "leave": {"at": "token"}}, "leave: at: token goes with cues: none"),
        (
            {"starts": "small", "stay": {"until": "end"}},
            "need early, loop or plan: the large model would write nothing",
        ),
        (
            {"leave": {"at": "sentence"}, "stay": {"until": "end"}},
            "needs early or loop: L would leave once for good",
        ),
        (
            {"answer_margin": 0.5, "answer_engine": "large"},
            "answer_margin goes with answer_engine: small",
        ),
        ({"early": EARLY, "handoff": "text"}, "handoff: text brings no probabilities"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_in_one_line(
    line: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        of_kind(LINE | line)
    assert "\n" not in str(caught.value)


def test_a_line_without_rules_is_the_papers_relay() -> None:
    method: Any = of_kind(LINE)
    assert Policy(**{name: getattr(method, name) for name in Policy.model_fields}) == Policy()


def test_a_pair_that_hands_over_text_goes_without_policies_by_probabilities() -> None:
    params = load(Path("params.yaml"))
    methods = params.methods | {"careful": of_kind(LINE | {"early": EARLY}), "plain": of_kind(LINE)}
    params = params.model_copy(update={"methods": methods})
    assert skip_reason(params, "qwen3_as_released", "careful") == (
        "pair 'qwen3_as_released' hands over text, which brings no probabilities"
    )
    assert not skip_reason(params, "qwen3", "careful")
    assert not skip_reason(params, "qwen3_as_released", "plain")
