"""Cue effects against values worked out by hand, and against a loop over tokens."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.analysis.cue_effects import (
    Corpus,
    CueEffect,
    effect,
    effects,
    read_corpus,
    segments,
    tokens_of,
)
from stages.config.schema import Cues
from stages.methods.matching import CueMatching
from stages.perf.per_token_reference import reference

pytestmark = pytest.mark.unit

# Tokens and margins: "Thus" leads into two sure tokens, "Wait" into two unsure ones.
TOKENS = ["Hm", " ok", ".", " Thus", " so", ".", " Wait", " no", "."]
MARGINS = [0.5, 0.5, 0.5, 0.4, 0.9, 0.7, 0.4, 0.1, 0.3]
TRACE = (TOKENS, MARGINS)


def table(traces: Sequence[tuple[list[str], list[float]]]) -> pl.DataFrame:
    """margins.parquet of reasonings behind a prompt of two tokens."""
    return pl.concat(
        pl.DataFrame(
            {
                "problem_id": [i] * (len(tokens) + 2),
                "repeat": [0] * (len(tokens) + 2),
                "token": ["Q", "?", *tokens],
                "margin": [None, 0.2, *margins],
                "stage": ["prompt"] * 2 + ["reasoning"] * len(tokens),
            }
        )
        for i, (tokens, margins) in enumerate(traces)
    )


def corpus(*traces: tuple[list[str], list[float]], include_prompt: bool = False) -> Corpus:
    return read_corpus(table(traces).lazy(), include_prompt)


def row(cue: str, found: Corpus) -> CueEffect:
    return effect(found, cue, "boundary", np.ones((1, len(found.texts))))


def test_a_segment_holds_the_tokens_behind_the_cue_and_the_full_stop() -> None:
    _, first, last = segments(corpus(TRACE), "Thus", "boundary")
    assert [TOKENS[i] for i in tokens_of(first, last)] == [" so", "."]


def test_a_segment_ends_with_its_trace() -> None:
    two = corpus((["Thus", " a"], [0.5, 0.5]), (["b", "."], [0.5, 0.5]))
    assert row("Thus", two)["n_tokens"] == 1


def test_a_cue_that_ends_a_trace_has_no_segment() -> None:
    two = corpus((["a", " Thus"], [0.5, 0.5]), (["b", "."], [0.5, 0.5]))
    assert row("Thus", two)["n_segments"] == 0


def test_tokens_of_overlapping_segments_are_counted_once() -> None:
    result = row("so", corpus((["so", " x", " so", " y", "."], [0.1, 0.2, 0.3, 0.4, 0.5])))
    assert (result["n_segments"], result["n_tokens"]) == (2, 4)


def test_effect_of_an_easy_cue() -> None:
    result = row("Thus", corpus(TRACE))
    assert (result["n_segments"], result["n_traces"], result["n_tokens"]) == (1, 1, 2)
    assert result["mean_margin"] == pytest.approx(0.8)
    assert result["sd"] == pytest.approx(np.sqrt(0.02))
    assert result["sem"] == pytest.approx(0.1)
    assert result["other_mean"] == pytest.approx(2.7 / 7)
    assert result["delta"] == pytest.approx(0.8 - 2.7 / 7)


def test_effect_of_a_hard_cue_is_negative() -> None:
    assert row("Wait", corpus(TRACE))["delta"] == pytest.approx(0.2 - 3.9 / 7)


def test_a_cue_that_never_occurs_has_a_row_without_effect() -> None:
    result = row("Hence", corpus(TRACE))
    assert result["n_segments"] == 0
    assert result["delta"] is None


def test_traces_are_counted_once_however_often_a_cue_occurs_in_them() -> None:
    result = row("Thus", corpus((TOKENS * 2, MARGINS * 2), TRACE))
    assert (result["n_segments"], result["n_traces"]) == (3, 2)


def test_the_interval_of_equal_traces_is_a_point() -> None:
    weights = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    result = effect(corpus(TRACE, TRACE), "Thus", "boundary", weights)
    assert result["ci_low"] == pytest.approx(result["delta"])
    assert result["ci_high"] == pytest.approx(result["delta"])


def test_selection_needs_a_positive_effect_and_enough_segments() -> None:
    cues = Cues(min_segments=2, min_delta=0.0, bootstrap=10)
    traces = corpus(TRACE, TRACE, (["x", " Hence", " y", "."], [0.1, 0.1, 0.9, 0.9]))
    rows = effects(traces, ["Thus", "Wait", "Hence", "Now"], "boundary", cues, seed=1)
    assert rows.filter("selected")["cue"].to_list() == ["Thus"]
    assert set(rows["cue"]) == {"Thus", "Wait", "Hence", "Now"}


def test_prompt_tokens_count_among_the_others_only_when_asked_for() -> None:
    assert row("Thus", corpus(TRACE))["other_mean"] == pytest.approx(2.7 / 7)
    asked = row("Thus", corpus(TRACE, include_prompt=True))
    assert asked["other_mean"] == pytest.approx(2.9 / 8)


PIECES = st.sampled_from(
    [
        "Thus",
        "thus",
        " so",
        " So",
        ",",
        " ",
        ".",
        "\n",
        "é",
        "²",
        "√",
        "🙂",
        "a",
        "aa",
        "x",
        "?!",
        "",
    ]
)
TRACES = st.lists(
    st.lists(st.tuples(PIECES, st.floats(0, 1)), min_size=1, max_size=30), min_size=1, max_size=4
)


@settings(deadline=None)
@given(
    traces=TRACES,
    matching=st.sampled_from(["boundary", "substring"]),
    include_prompt=st.booleans(),
)
def test_effects_are_those_of_a_loop_over_tokens_exactly(
    traces: list[list[tuple[str, float]]], matching: CueMatching, include_prompt: bool
) -> None:
    words = ["Thus", "thus,", "So ", "so", "aa", "é", ".", "\n", " "]
    margins = table([([t for t, _ in trace], [m for _, m in trace]) for trace in traces])
    cues = Cues(min_segments=1, min_delta=0.0, bootstrap=10)
    found = effects(read_corpus(margins.lazy(), include_prompt), words, matching, cues, seed=1)
    rows = {one["cue"]: one for one in found.drop("ci_low", "ci_high", "selected").to_dicts()}
    assert [rows[cue] for cue in words] == reference(margins, words, matching, include_prompt)


@settings(deadline=None, max_examples=20)
@given(traces=TRACES)
def test_intervals_are_those_of_resampled_traces(traces: list[list[tuple[str, float]]]) -> None:
    margins = table([([t for t, _ in trace], [m for _, m in trace]) for trace in traces])
    drawn = np.random.default_rng(1).integers(len(traces), size=(20, len(traces)))
    weights = np.array([np.bincount(one, minlength=len(traces)) for one in drawn], dtype=float)
    found = effect(read_corpus(margins.lazy(), False), "so", "boundary", weights)
    deltas = [
        one["delta"]
        for picks in drawn
        for one in reference(resampled(margins, picks), ["so"], "boundary", False)
        if one["delta"] is not None
    ]
    expected = np.percentile(deltas, [2.5, 97.5]) if deltas else (None, None)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(tuple(expected), abs=1e-9)


def resampled(margins: pl.DataFrame, picks: Sequence[int]) -> pl.DataFrame:
    """The picked traces, told apart by `repeat`."""
    return pl.concat(
        margins.filter(problem_id=trace).with_columns(repeat=pl.lit(i))
        for i, trace in enumerate(picks)
    )
