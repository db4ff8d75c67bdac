"""What holds for the relay on any text, cut by replay in the bundled tokenizer's tokens."""

from dataclasses import replace
from itertools import accumulate, chain, pairwise, repeat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.analysis.replay import Counts
from stages.methods.base import THINK_END, Answer, Completion, Request, Setting
from stages.methods.matching import SENTENCE_ENDS, CueMatching, CueSet, starts_word
from stages.methods.offline import TraceEngine, replay, setting
from stages.methods.relay import Relay
from tests.conftest import TOKENIZER, encode

pytestmark = pytest.mark.unit
# The same examples every time, however busy the machine is.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

# A cue with a trailing blank may leave the token that only the blank reaches: tests of their own.
WORDS = ("Thus", "Now", "Now,", "now", "ow", "hence", "Also", "また", "🙂", "é")
BLANK = ("So ", "now ", "だ ")
FRAGMENTS = (
    *WORDS, *BLANK, *SENTENCE_ENDS, "know", "whence", "So, ", " the", ".Now", ".x", "42", "\n",
    THINK_END, "<think>\n", "😀", "👩\u200d👧", "🇰🇷", "你好。", "한국", "e\u0301", "\u0301",
    "n\u0303ow",
)  # fmt: skip

texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=6), max_size=40).map("".join)
matchings = st.sampled_from(["boundary", "substring"])
cue_sets = st.lists(st.sampled_from(WORDS + BLANK), min_size=1, unique=True).map(tuple)
word_sets = st.lists(st.sampled_from(WORDS), min_size=1, unique=True).map(tuple)
minimums = st.integers(0, 8)


def decode(ids: list[int]) -> str:
    return str(TOKENIZER.decode(ids, skip_special_tokens=False))


def cut(
    ids: list[int], cues: tuple[str, ...], matching: CueMatching, min_tokens: int
) -> tuple[Answer, list[int]]:
    """(the relay's answer, where its segments end in `ids`)."""
    answer = replay(ids, TOKENIZER, setting(TOKENIZER, CueSet(cues, matching), min_tokens))
    return answer, list(accumulate(segment.n_tokens for segment in answer.segments))


def served(ids: list[int], stops: tuple[str, ...]) -> Completion | None:
    """What a server would return of `ids`, the slow way; None if it stops nowhere."""
    for n in range(1, len(ids) + 1):
        text = decode(ids[:n])
        found = [(text.index(stop) + len(stop), stop) for stop in stops if stop in text]
        # What ends in half a character is held back until the character is there.
        if found and not text.endswith("�"):
            end, stop = min(found, key=lambda one: one[0])
            return Completion(ids[:n], text[:end], "stop", stop)
    return None


def relayed(script: list[str], rules: Setting, budget: int) -> Answer:
    """An answer of the relay, each request served by the script's next text."""
    machine = Relay(replace(rules, budget=budget), large="large", small="small")
    lines = chain(script, repeat(""))
    while request := machine.next_request():
        ids = encode(f"{next(lines)}{THINK_END}")[: request.max_tokens]
        machine.feed(served(ids, request.stop) or Completion(ids, decode(ids), "length"), 0.0)
    return machine.answer


@given(texts, cue_sets, matchings, minimums)
def test_cutting_and_joining_gives_ids_and_text_back(
    text: str, cues: tuple[str, ...], matching: CueMatching, min_tokens: int
) -> None:
    ids = encode(text)
    answer, ends = cut(ids, cues, matching, min_tokens)
    pieces = [ids[start:end] for start, end in pairwise([0, *ends])]
    assert list(chain(*pieces)) == answer.token_ids[: len(ids)] == ids
    assert "".join(map(decode, pieces)) == TOKENIZER.normalizer.normalize_str(text)


@given(texts, cue_sets, st.data())
def test_the_stop_string_that_completes_first_wins(
    text: str, cues: tuple[str, ...], data: st.DataObject
) -> None:
    ids = encode(text.replace("�", ""))
    start = data.draw(st.integers(0, len(ids)))
    stops = (*cues, THINK_END)
    # Where half a character is left of the cut, no server was ever asked to go on.
    if decode(ids[:start]).endswith("�"):
        return
    completion = TraceEngine(ids, TOKENIZER).complete(Request("large", ids[:start], 1, stops))
    rest = Completion(ids[start:], decode(ids[start:]), "length")
    assert completion == (served(ids[start:], stops) or rest)


@given(texts, word_sets, matchings, minimums)
def test_no_cue_fires_among_a_segments_first_tokens(
    text: str, cues: tuple[str, ...], matching: CueMatching, min_tokens: int
) -> None:
    answer, _ = cut(encode(text), cues, matching, min_tokens)
    assert all(segment.n_tokens > min_tokens for segment in answer.segments if segment.cue)


@given(texts, word_sets, minimums)
def test_no_cue_fires_inside_a_word_at_boundaries(
    text: str, cues: tuple[str, ...], min_tokens: int
) -> None:
    ids = encode(text)
    answer, ends = cut(ids, cues, "boundary", min_tokens)
    for segment, end in zip(answer.segments, ends, strict=True):
        if segment.cue:
            written, before = decode(ids[:end]), decode(ids[: end - 1])
            first = max(0, len(before.rstrip("�")) - len(segment.cue) + 1)
            starts = [p for p in range(first, len(written)) if written.startswith(segment.cue, p)]
            assert any(starts_word(written, position) for position in starts)


@given(texts, cue_sets, matchings, minimums)
def test_counts_add_up(
    text: str, cues: tuple[str, ...], matching: CueMatching, min_tokens: int
) -> None:
    ids = encode(f"Q{text}")
    answer, _ = cut(ids, cues, matching, min_tokens)
    counts = Counts()
    counts.add("a problem", answer)
    values = counts.values()
    assert values["large_tokens"] + values["small_tokens"] == len(ids)
    lengths = [values["large_segment_tokens"], values["small_segment_tokens"]]
    n_segments = [counts.segments["large"], counts.segments["small"]]
    reasoning = sum(n * (length or 0) for n, length in zip(n_segments, lengths, strict=True))
    assert round(reasoning) + values["answer_tokens"] == len(ids)
    assert values["handoffs"] <= len(answer.segments) - 1


@given(st.lists(texts, min_size=1), word_sets, matchings, minimums, st.integers(1, 200))
def test_a_relayed_answer_replays_to_its_own_counts(
    script: list[str],
    cues: tuple[str, ...],
    matching: CueMatching,
    min_tokens: int,
    budget: int,
) -> None:
    rules = setting(TOKENIZER, CueSet(cues, matching), min_tokens)
    answer = relayed(script, rules, budget)
    kept = answer.token_ids[: sum(segment.n_tokens for segment in answer.segments)]
    replayed, _ = cut(kept, cues, matching, min_tokens)
    assert replayed.segments == answer.segments


@given(st.lists(texts, min_size=1), word_sets, minimums, st.integers(1, 200))
def test_no_answer_is_longer_than_the_budget(
    script: list[str], cues: tuple[str, ...], min_tokens: int, budget: int
) -> None:
    rules = setting(TOKENIZER, CueSet(cues, "boundary"), min_tokens)
    assert len(relayed(script, rules, budget).token_ids) <= budget
