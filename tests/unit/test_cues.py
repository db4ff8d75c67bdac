"""Cue effects against values worked out by hand."""

import numpy as np
import polars as pl
import pytest

from stages.cues import Trace, effect, effects, read_traces, segment_tokens
from stages.params import Cues

pytestmark = pytest.mark.unit

# Tokens and margins: "Thus" leads into two sure tokens, "Wait" into two unsure ones.
TOKENS = ["Hm", " ok", ".", " Thus", " so", ".", " Wait", " no", "."]
MARGINS = [0.5, 0.5, 0.5, 0.4, 0.9, 0.7, 0.4, 0.1, 0.3]


def trace(tokens: list[str] = TOKENS, margins: list[float] = MARGINS) -> Trace:
    starts = np.concatenate(([0], np.cumsum([len(token) for token in tokens])[:-1]))
    return Trace("".join(tokens), starts, np.array(margins), np.empty(0))


def row(cue: str, traces: list[Trace]) -> dict[str, object]:
    return effect(traces, cue, "boundary", np.ones((1, len(traces))))


def test_a_segment_holds_the_tokens_behind_the_cue_and_the_full_stop() -> None:
    count, mask = segment_tokens(trace(), "Thus", "boundary")
    assert count == 1
    assert [t for t, inside in zip(TOKENS, mask, strict=True) if inside] == [" so", "."]


def test_effect_of_an_easy_cue() -> None:
    result = row("Thus", [trace()])
    assert (result["n_segments"], result["n_traces"], result["n_tokens"]) == (1, 1, 2)
    assert result["mean_margin"] == pytest.approx(0.8)
    assert result["sd"] == pytest.approx(np.sqrt(0.02))
    assert result["sem"] == pytest.approx(0.1)
    assert result["other_mean"] == pytest.approx(2.7 / 7)
    assert result["delta"] == pytest.approx(0.8 - 2.7 / 7)


def test_effect_of_a_hard_cue_is_negative() -> None:
    assert row("Wait", [trace()])["delta"] == pytest.approx(0.2 - 3.9 / 7)


def test_a_cue_that_never_occurs_has_a_row_without_effect() -> None:
    result = row("Hence", [trace()])
    assert result["n_segments"] == 0
    assert result["delta"] is None


def test_traces_are_counted_once_however_often_a_cue_occurs_in_them() -> None:
    twice = trace(TOKENS * 2, MARGINS * 2)
    result = row("Thus", [twice, trace()])
    assert (result["n_segments"], result["n_traces"]) == (3, 2)


def test_the_interval_of_equal_traces_is_a_point() -> None:
    weights = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    result = effect([trace(), trace()], "Thus", "boundary", weights)
    assert result["ci_low"] == pytest.approx(result["delta"])
    assert result["ci_high"] == pytest.approx(result["delta"])


def test_selection_needs_a_positive_effect_and_enough_segments() -> None:
    cues = Cues(min_segments=2, min_delta=0.0, bootstrap=10)
    traces = [trace(), trace(), trace(["x", " Hence", " y", "."], [0.1, 0.1, 0.9, 0.9])]
    table = effects(traces, ["Thus", "Wait", "Hence", "Now"], "boundary", cues, seed=1)
    assert table.filter("selected")["cue"].to_list() == ["Thus"]
    assert set(table["cue"]) == {"Thus", "Wait", "Hence", "Now"}


def test_prompt_tokens_count_among_the_others_only_when_asked_for() -> None:
    margins = pl.DataFrame(
        {
            "problem_id": [0] * 3,
            "repeat": [0] * 3,
            "position": [0, 1, 2],
            "token": ["Q", "?", " Thus"],
            "margin": [None, 0.2, 0.4],
            "stage": ["prompt", "prompt", "reasoning"],
        }
    )
    assert read_traces(margins, include_prompt=False)[0].prompt_margins.tolist() == []
    assert read_traces(margins, include_prompt=True)[0].prompt_margins.tolist() == [0.2]
