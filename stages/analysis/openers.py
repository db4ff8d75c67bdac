"""Candidates from the traces themselves: words that open sentences, and which of them become cues.

There are many candidates, so the share of false ones among the selected is limited
(Benjamini-Hochberg, 1995), and cues that fire at the same tokens are selected once.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import NormalDist

import numpy as np
import polars as pl

from stages.analysis.cue_effects import Booleans, Corpus, Integers, effects, segments, tokens_of
from stages.config.schema import Cues
from stages.config.settings import Settings
from stages.methods.matching import CueMatching
from stages.runtime.errors import UserError

log = logging.getLogger(__name__)
MOST_WORDS = 3
MOST_CHARACTERS = 4  # of an opener in a script without blanks
FALSE_SHARE = 0.05  # of the selected candidates, at most, on average
TRACES = 5  # that a cue is in, at least: the spread over fewer is not known
NEW_TOKENS = 0.1  # share of a cue's tokens that no other selected cue has, at least
WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*[,\uff0c\u3001]?")
NO_BLANKS = re.compile("[\u3040-\u30ff\u3400-\u9fff]")  # Chinese and Japanese
INTERVAL_SDS = 2 * NormalDist().inv_cdf(0.975)  # of a 95 % interval


def cue_table(corpus: Corpus, settings: Settings) -> pl.DataFrame:
    """Return cues.csv: of the candidates that are given, or of those that the traces have."""
    cues, matching, seed = settings.cues, settings.cue_matching, settings.seed
    if settings.candidates == "auto":
        return mined(corpus, settings.segment_ends, matching, cues, seed)
    return effects(corpus, settings.candidates, matching, cues, seed)


def openers(texts: Iterable[str], segment_ends: Sequence[str], at_least: int) -> list[str]:
    """Return the words, up to three, that open `at_least` sentences, the most frequent first."""
    ends = re.compile(f"[{re.escape(''.join(segment_ends))}]+")
    counts: Counter[str] = Counter()
    for text in texts:
        for sentence in ends.split(text):
            counts.update(beginnings(sentence.strip()))
    return [opener for opener, n in counts.most_common() if n >= at_least]


def beginnings(sentence: str) -> Iterator[str]:
    """Yield the first words of a sentence: one, two and three, with and without a comma after."""
    position, n = 0, 0
    while n < MOST_WORDS and (word := WORD.match(sentence, position)):
        if NO_BLANKS.match(word[0]):
            yield from (word[0][:i] for i in range(2, 1 + min(MOST_CHARACTERS, len(word[0]))))
            return
        yield sentence[: word.end()]
        bare = word[0].rstrip(",\uff0c\u3001")
        if bare != word[0]:
            yield sentence[: word.start() + len(bare)]
        if sentence[word.end() : word.end() + 1] != " ":
            return
        position, n = word.end() + 1, n + 1


def mined(
    corpus: Corpus,
    segment_ends: Sequence[str],
    matching: CueMatching,
    cues: Cues,
    seed: int,
) -> pl.DataFrame:
    """Return cues.csv of the openers, of which few are selected: see the module.

    Raises UserError if none occurs often enough.
    """
    words = openers(corpus.texts, segment_ends, cues.min_segments)
    if not words:
        raise UserError(
            f"no word opens {cues.min_segments} sentences of the traces (cues.min_segments): lower "
            "it, or take more traces"
        )
    table = effects(corpus, words, matching, cues, seed)
    sure = table.filter("selected", likely(table, cues.min_delta), pl.col("n_traces") >= TRACES)
    gain = pl.col("n_tokens") * (pl.col("mean_margin") - corpus.margins.mean())
    best_first = sure.sort(gain, "cue", descending=[True, False])["cue"]
    chosen = not_redundant(corpus, best_first, matching)
    return table.with_columns(selected=pl.col("cue").is_in(chosen))


def likely(table: pl.DataFrame, min_delta: float) -> pl.Series:
    """Return which candidates have an effect above `min_delta`, by Benjamini and Hochberg.

    The p value of one is that of its effect in standard deviations, which its bootstrap interval
    over traces gives; without an interval there is none.
    """
    sd = (table["ci_high"] - table["ci_low"]) / INTERVAL_SDS
    p = np.array(
        [
            1.0 if one is None or delta is None else p_value(delta - min_delta, one)
            for delta, one in zip(table["delta"], sd, strict=True)
        ]
    )
    order = np.argsort(p, kind="stable")
    limits = FALSE_SHARE * np.arange(1, len(p) + 1) / len(p)
    below = np.flatnonzero(p[order] <= limits)
    found = np.zeros(len(p), dtype=bool)
    found[order[: below[-1] + 1 if len(below) else 0]] = True
    return pl.Series(found)


def p_value(difference: float, sd: float) -> float:
    """Return the probability of a difference as large or larger if there were none."""
    if sd == 0:
        return 0.0 if difference > 0 else 1.0
    return 1 - NormalDist().cdf(difference / sd)


def not_redundant(corpus: Corpus, words: Iterable[str], matching: CueMatching) -> list[str]:
    """Return the words that add tokens to those before them, and log what all would delegate.

    What a word adds must have a higher margin than the tokens that none has.
    """
    covered: Booleans = np.zeros(len(corpus.margins), dtype=bool)
    chosen = []
    for word in words:
        tokens = tokens_at(corpus, word, matching)
        new = tokens[~covered[tokens]]
        if len(new) < max(1, NEW_TOKENS * len(tokens)):
            continue
        if corpus.margins[new].mean() > corpus.margins[~covered].mean():
            covered[tokens] = True
            chosen.append(word)
    log.info("%d cues delegate %.1f %% of the tokens", len(chosen), 100 * covered.mean())
    return chosen


def tokens_at(corpus: Corpus, word: str, matching: CueMatching) -> Integers:
    """Return the tokens in a word's segments."""
    _, first, last = segments(corpus, word, matching)
    return tokens_of(first, last)
