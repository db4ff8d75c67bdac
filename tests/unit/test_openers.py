"""Candidates from traces: what opens sentences, and which of it is selected."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from stages.analysis.cue_effects import Corpus, effects, read_corpus
from stages.analysis.openers import beginnings, likely, mined, not_redundant, openers
from stages.config.schema import Cues
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit
ENDS = (".", "!", "?", "\n")
RULES = Cues(min_segments=5, min_delta=0.0, bootstrap=200)


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("Okay so we add", ["Okay", "Okay so", "Okay so we"]),
        ("Now, let me", ["Now,", "Now", "Now, let", "Now, let me"]),
        ("So x = 4", ["So", "So x"]),
        ("Let's see", ["Let's", "Let's see"]),
        ("42 is even", []),
        ("", []),
        ("所以我们得到", ["所以", "所以我", "所以我们"]),
        ("等等\uff0c不对", ["等等", "等等\uff0c"]),
    ],
)
def test_a_sentence_begins_with_up_to_three_words(sentence: str, found: list[str]) -> None:
    assert list(beginnings(sentence)) == found


def test_what_opens_enough_sentences_is_a_candidate() -> None:
    texts = ["Thus it is. So we go! Thus it was?\nThus far", "thus it"]
    assert openers(texts, ENDS, 2) == ["Thus", "Thus it"]


def corpus(sentences: Sequence[tuple[str, float]], n_traces: int = 8) -> Corpus:
    """Traces of these sentences: the words of each have about its margin."""
    random = np.random.default_rng(0)
    rows = [
        {"problem_id": trace, "repeat": 0, "token": piece, "stage": "reasoning",
         "margin": margin + 0.01 * random.random()}
        for trace in range(n_traces)
        for text, margin in sentences
        for piece in (*(f" {word}" for word in text.split()), ".")
    ]  # fmt: skip
    return read_corpus(pl.DataFrame(rows).lazy(), include_prompt=False)


EASY_AND_HARD = [("Okay so we add", 0.9), ("But maybe not this", 0.3), ("Now, it is four", 0.95)]


def chosen(sentences: Sequence[tuple[str, float]]) -> list[str]:
    """The selected ones of the traces' openers."""
    table = mined(corpus(sentences), ENDS, "boundary", RULES, seed=1)
    return sorted(table.filter("selected")["cue"])


def test_easy_openers_are_selected_once_each_and_hard_ones_are_not() -> None:
    assert chosen(EASY_AND_HARD) == ["Now", "Okay"]


def test_a_longer_opener_is_selected_where_the_shorter_one_is_no_cue() -> None:
    mixed = [("So we add four", 0.95), ("So maybe not that", 0.2), ("Hmm what then", 0.3)]
    assert chosen(mixed) == ["So we"]


def test_what_is_in_few_traces_is_not_selected() -> None:
    table = mined(corpus(EASY_AND_HARD * 2, n_traces=4), ENDS, "boundary", RULES, seed=1)
    assert not table["selected"].any()
    assert table["n_segments"].min() == 8


def test_all_openers_are_in_the_table() -> None:
    table = mined(corpus(EASY_AND_HARD), ENDS, "boundary", RULES, seed=1)
    assert {"Okay so", "Okay so we", "But", "Now,"} <= set(table["cue"])


def test_without_openers_the_key_is_named() -> None:
    with pytest.raises(UserError, match=r"no word opens 5 sentences .*cues\.min_segments"):
        mined(corpus(EASY_AND_HARD, n_traces=1), ENDS, "boundary", RULES, seed=1)


def p_table(deltas: list[float | None], sd: float) -> pl.DataFrame:
    """Candidates with these effects, each with an interval of the same width."""
    half = 1.959964 * sd
    return pl.DataFrame(
        {
            "delta": deltas,
            "ci_low": [None if delta is None else delta - half for delta in deltas],
            "ci_high": [None if delta is None else delta + half for delta in deltas],
        },
        schema=dict.fromkeys(("delta", "ci_low", "ci_high"), pl.Float64),
    )


def test_false_candidates_are_a_small_share_of_the_selected() -> None:
    random = np.random.default_rng(1)
    false_ones, selected = 0, 0
    for _ in range(200):
        deltas = [*random.normal(0, 1, 90), *random.normal(4, 1, 10)]
        found = likely(p_table(deltas, 1.0), 0.0).to_numpy()
        false_ones, selected = false_ones + found[:90].sum(), selected + found.sum()
    assert 0.02 < false_ones / selected < 0.06
    assert selected > 200 * 7


@pytest.mark.parametrize(
    ("deltas", "sd", "found"),
    [
        ([0.5, -0.5], 0.0, [True, False]),
        ([0.5, None], 0.01, [True, False]),
        ([None], 0.01, [False]),
        ([0.02], 0.01, [True]),
        ([0.02, 0.0, 0.0], 0.01, [False] * 3),  # by itself it would be enough
    ],
)
def test_what_is_sure_enough_depends_on_the_number_of_candidates(
    deltas: list[float | None], sd: float, found: list[bool]
) -> None:
    assert likely(p_table(deltas, sd), 0.0).to_list() == found


def test_a_cue_within_another_one_adds_nothing() -> None:
    words = ["Okay", "Okay so", "Now,", "Now"]
    assert not_redundant(corpus(EASY_AND_HARD), words, "boundary") == ["Okay", "Now,"]


def test_the_effects_are_those_of_the_published_way() -> None:
    given = corpus(EASY_AND_HARD)
    table = mined(given, ENDS, "boundary", RULES, seed=1)
    usual = effects(given, table["cue"].to_list(), "boundary", RULES, 1)
    assert table.drop("selected").equals(usual.drop("selected"))
