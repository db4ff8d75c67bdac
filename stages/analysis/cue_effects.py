"""Cue effects and the cues that are selected (paper section 3.2).

A cue's segment is what follows it up to the end of the sentence. Its effect `delta` is the mean
margin of the tokens in its segments minus the mean of all other tokens: positive where the small
model is surer than elsewhere. Every candidate keeps its row, selected or not.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stages.analysis.bootstrap import Floats, difference_interval, draw_weights
from stages.config.schema import Cues
from stages.methods.matching import SEGMENT_ENDS, CueMatching, starts_word

TRACE = ("problem_id", "repeat")
# Whether a cue may begin behind this byte; behind others than ASCII, their character decides.
WORD_MAY_START = np.array([i < 128 and starts_word(chr(i), 1) for i in range(256)])
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class Corpus:
    """The tokens that count, of all traces end to end; places are bytes of their texts in UTF-8.

    `texts` [traces] are the reasonings, `utf8` [bytes] all of them; `sentence_ends` are the places
    behind their sentences; `starts` and `margins` [tokens] are the tokens'. Trace i has the bytes
    from bounds[i] to bounds[i + 1] and the tokens from cuts[i] to cuts[i + 1].
    """

    texts: pl.Series
    utf8: NDArray[np.uint8]
    sentence_ends: Integers
    starts: Integers
    margins: Floats
    bounds: Integers
    cuts: Integers

    @cached_property
    def sums(self) -> Floats:
        """The sum of each trace's margins."""
        return sum_each(self.margins, self.cuts)


def read_corpus(margins: pl.LazyFrame, include_prompt: bool) -> Corpus:
    """From margins.parquet, whose tokens are in the order of their position."""
    reasoning = margins.filter(pl.col("stage") == "reasoning")
    prompt = margins.filter((pl.col("stage") == "prompt") & pl.col("margin").is_not_null())
    # Behind the reasoning and without a text, prompt tokens are never inside a segment.
    parts = [reasoning, prompt.with_columns(token=pl.lit(""))] if include_prompt else [reasoning]
    token = pl.col("token")
    traces = (
        pl.concat(part.select(*TRACE, "token", "margin") for part in parts)
        .group_by(TRACE, maintain_order=True)
        .agg("margin", text=token.str.join(), n_bytes=token.str.len_bytes(), n_tokens=pl.len())
        .collect(engine="streaming")
    )
    utf8 = np.frombuffer("".join(traces["text"]).encode(), np.uint8)
    bounds = offsets(traces["text"].str.len_bytes())
    sentence_ends = np.flatnonzero(np.isin(utf8, list(SEGMENT_ENDS.encode()))) + 1
    return Corpus(
        texts=traces["text"],
        utf8=utf8,
        sentence_ends=np.append(sentence_ends, bounds[-1]),
        starts=offsets(traces["n_bytes"].explode())[:-1],
        margins=traces["margin"].explode().to_numpy(),
        bounds=bounds,
        cuts=offsets(traces["n_tokens"]),
    )


def offsets(lengths: pl.Series) -> Integers:
    """Where stretches of these lengths begin, end to end, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(lengths.to_numpy(), dtype=np.int64)))


def segments(
    corpus: Corpus, cue: str, matching: CueMatching
) -> tuple[Integers, Integers, Integers]:
    """Trace, first token and one past the last token of each segment; one without tokens is none.

    As `occurrences` and `segment` of stages.methods.matching find them, in all traces at once.
    """
    found = corpus.texts.str.find_many([cue]).to_arrow()
    trace = np.repeat(np.arange(len(found)), np.diff(found.offsets))
    position = corpus.bounds[trace] + found.values.to_numpy()
    if matching == "boundary":
        kept = at_word_start(corpus, trace, position)
        trace, position = trace[kept], position[kept]
    start = position + len(cue.rstrip(" ").encode())
    after = np.searchsorted(corpus.sentence_ends[:-1], start, side="right")
    end = np.minimum(corpus.sentence_ends[after], corpus.bounds[trace + 1])
    first, last = np.searchsorted(corpus.starts, (start, end))
    first = np.maximum(first, corpus.cuts[trace])  # where tokens without a text end the one before
    some = last > first
    return trace[some], first[some], last[some]


def at_word_start(corpus: Corpus, trace: Integers, position: Integers) -> Booleans:
    """Which of the positions are at a word's start."""
    before = corpus.utf8[position - 1]
    begins: Booleans = position == corpus.bounds[trace]
    fits: Booleans = begins | WORD_MAY_START[before]
    for i in np.flatnonzero(~begins & (before >= 128)):
        # A character takes four bytes at most.
        text = corpus.utf8[max(position[i] - 4, 0) : position[i]].tobytes().decode(errors="ignore")
        fits[i] = starts_word(text, len(text))
    return fits


def tokens_of(first: Integers, last: Integers) -> Integers:
    """The tokens of segments from `first` to before `last`, each once, in ascending order."""
    # Segments that overlap end together: what a former one holds is not counted again.
    first = np.maximum(first, np.append(0, last)[:-1])
    n = last - first
    tokens: Integers = np.arange(n.sum()) + np.repeat(first - (np.cumsum(n) - n), n)
    return tokens


def effect(corpus: Corpus, cue: str, matching: CueMatching, weights: Floats) -> dict[str, object]:
    """One row of cues.csv, without `selected`; `weights` [resamples, traces]: bootstrap counts."""
    trace, first, last = segments(corpus, cue, matching)
    tokens = tokens_of(first, last)
    inside, others = corpus.margins[tokens], np.delete(corpus.margins, tokens)
    interval = difference_interval(trace_sums(corpus, tokens), weights)
    sd = float(np.std(inside, ddof=1)) if len(inside) > 1 else None
    return {
        "cue": cue,
        "n_segments": len(trace),
        "n_traces": len(np.unique(trace)),
        "n_tokens": len(inside),
        "mean_margin": float(inside.mean()) if len(inside) else None,
        "sd": sd,
        "sem": sd / len(inside) ** 0.5 if sd is not None else None,
        "other_mean": float(others.mean()) if len(others) else None,
        "delta": float(inside.mean() - others.mean()) if len(inside) and len(others) else None,
        "ci_low": interval[0] if interval else None,
        "ci_high": interval[1] if interval else None,
    }


def trace_sums(corpus: Corpus, tokens: Integers) -> Floats:
    """Return, per trace, sum and number of the margins of `tokens` and of all tokens: [traces, 4].

    Whole traces are resampled: the tokens of one trace are not independent.
    """
    cuts = np.searchsorted(tokens, corpus.cuts)
    return np.column_stack(
        [
            sum_each(corpus.margins[tokens], cuts),
            np.diff(cuts),
            corpus.sums,
            np.diff(corpus.cuts),
        ]
    )


def sum_each(values: Floats, cuts: Integers) -> Floats:
    """The sum of each stretch of `values` between two cuts."""
    return np.array([values[a:b].sum() for a, b in itertools.pairwise(cuts)])


def effects(
    corpus: Corpus, words: Sequence[str], matching: CueMatching, cues: Cues, seed: int
) -> pl.DataFrame:
    """cues.csv: one row per candidate, the largest effect first."""
    weights = draw_weights(len(corpus.texts), cues.bootstrap, seed)
    rows = [effect(corpus, cue, matching, weights) for cue in words]
    enough = pl.col("n_segments") >= cues.min_segments
    return (
        pl.DataFrame(rows, infer_schema_length=None)
        .with_columns(selected=(enough & (pl.col("delta") > cues.min_delta)).fill_null(False))
        .sort("delta", "cue", descending=[True, False], nulls_last=True)
    )
