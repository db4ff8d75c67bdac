"""Cue effects and the cues that are selected (paper section 3.2).

A cue's segment is the text after it up to the end of the sentence. Its effect `delta` is the mean
margin of the tokens in its segments minus the mean of all other tokens: positive if the small model
is surer there than elsewhere. Every candidate has a row, selected or not.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stages.analysis.bootstrap import Floats, difference_interval, draw_weights
from stages.config.schema import Cues
from stages.methods.matching import SEGMENT_ENDS, CueMatching, starts_word
from stages.runtime.errors import UserError

TRACE = ("problem_id", "repeat")
# {byte: whether a cue may begin after it}; after a byte that is not ASCII, the character decides.
WORD_MAY_START = np.array([i < 128 and starts_word(chr(i), 1) for i in range(256)])
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class Corpus:
    """The tokens of all traces in one row; positions are bytes of their texts in UTF-8.

    `texts` [traces]: the reasonings; `utf8` [bytes]: their bytes. `sentence_ends`: the positions
    after each sentence. `starts` and `margins` [tokens]: where a token starts, and its margin.
    Trace i has the bytes from bounds[i] to bounds[i + 1] and the tokens from cuts[i] to
    cuts[i + 1].
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
        """Return the sum of each trace's margins."""
        return sum_each(self.margins, self.cuts)


def read_corpus(
    margins: pl.LazyFrame, include_prompt: bool, segment_ends: Sequence[str] = SEGMENT_ENDS
) -> Corpus:
    """Return the corpus of margins.parquet, whose tokens are in the order of their position.

    `include_prompt`: whether the prompts' tokens count among the others of a cue. `segment_ends`:
    the characters that end a sentence.
    """
    reasoning = margins.filter(pl.col("stage") == "reasoning")
    prompt = margins.filter((pl.col("stage") == "prompt") & pl.col("margin").is_not_null())
    # After the reasoning and without text, prompt tokens are never inside a segment.
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
    ends = np.concatenate([ends_of(utf8, character.encode()) for character in segment_ends])
    return Corpus(
        texts=traces["text"],
        utf8=utf8,
        sentence_ends=np.append(np.unique(ends), bounds[-1]),
        starts=offsets(traces["n_bytes"].explode())[:-1],
        margins=traces["margin"].explode().to_numpy(),
        bounds=bounds,
        cuts=offsets(traces["n_tokens"]),
    )


def ends_of(utf8: NDArray[np.uint8], character: bytes) -> Integers:
    """Return the positions after each occurrence of one character."""
    n = max(0, len(utf8) - len(character) + 1)
    found = np.ones(n, dtype=bool)
    for i, byte in enumerate(character):
        found &= utf8[i : n + i] == byte
    return np.flatnonzero(found) + len(character)


def offsets(lengths: pl.Series) -> Integers:
    """Return where consecutive pieces of these lengths begin, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(lengths.to_numpy(), dtype=np.int64)))


def segments(
    corpus: Corpus, cue: str, matching: CueMatching
) -> tuple[Integers, Integers, Integers]:
    """Return the trace, first token and one past the last token of each segment with tokens.

    These are the segments that `occurrences` and `segment` of stages.methods.matching find, here
    in all traces at once.
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
    first = np.maximum(first, corpus.cuts[trace])  # tokens without text may end a trace
    some = last > first
    return trace[some], first[some], last[some]


def at_word_start(corpus: Corpus, trace: Integers, position: Integers) -> Booleans:
    """Return which of the positions are at a word's start."""
    before = corpus.utf8[position - 1]
    begins: Booleans = position == corpus.bounds[trace]
    fits: Booleans = begins | WORD_MAY_START[before]
    for i in np.flatnonzero(~begins & (before >= 128)):
        # A character has at most four bytes.
        text = corpus.utf8[max(position[i] - 4, 0) : position[i]].tobytes().decode(errors="ignore")
        fits[i] = starts_word(text, len(text))
    return fits


def tokens_of(first: Integers, last: Integers) -> Integers:
    """Return the tokens of segments [first, last), each once, in ascending order."""
    # Segments that overlap have the same end: the later one adds no token.
    first = np.maximum(first, np.append(0, last)[:-1])
    n = last - first
    tokens: Integers = np.arange(n.sum()) + np.repeat(first - (np.cumsum(n) - n), n)
    return tokens


class CueEffect(TypedDict):
    """One row of cues.csv, without `selected`. None where there are no tokens, or too few."""

    cue: str
    n_segments: int
    n_traces: int
    n_tokens: int
    mean_margin: float | None
    sd: float | None
    sem: float | None
    other_mean: float | None
    delta: float | None
    ci_low: float | None
    ci_high: float | None


def effect(corpus: Corpus, cue: str, matching: CueMatching, weights: Floats) -> CueEffect:
    """Return the effect of one cue; `weights` [resamples, traces]: see `draw_weights`."""
    trace, first, last = segments(corpus, cue, matching)
    tokens = tokens_of(first, last)
    inside, others = corpus.margins[tokens], np.delete(corpus.margins, tokens)
    low, high = difference_interval(trace_sums(corpus, tokens), weights) or (None, None)
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
        "ci_low": low,
        "ci_high": high,
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
    """Return the sum of each part of `values` between two cuts."""
    return np.array([values[a:b].sum() for a, b in itertools.pairwise(cuts)])


def effects(
    corpus: Corpus, words: Sequence[str], matching: CueMatching, cues: Cues, seed: int
) -> pl.DataFrame:
    """Return cues.csv: one row per candidate, the largest effect first."""
    weights = draw_weights(len(corpus.texts), cues.bootstrap, seed)
    rows = [effect(corpus, cue, matching, weights) for cue in words]
    enough = pl.col("n_segments") >= cues.min_segments
    return (
        pl.DataFrame(rows, infer_schema_length=None)
        .with_columns(selected=(enough & (pl.col("delta") > cues.min_delta)).fill_null(False))
        .sort("delta", "cue", descending=[True, False], nulls_last=True)
    )


def check_selection(table: pl.DataFrame, cues: Cues) -> None:
    """Raise UserError if no candidate was selected."""
    if not table["selected"].any():
        best = table.row(0, named=True)
        raise UserError(
            f"no cue is left after selection: the best, {best['cue']!r}, has delta "
            f"{best['delta']:.4f}; lower cues.min_delta ({cues.min_delta}) or "
            f"cues.min_segments ({cues.min_segments})"
        )
