"""Token ids and text of a reply: made to agree, or no answer."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream, Metaspace
from tokenizers.models import BPE

from stages.engine.replies import BadReplyError, settled
from stages.methods.base import Completion, Marks
from tests.conftest import TOKENIZER, encode

pytestmark = pytest.mark.unit
PROMPT = encode("<|im_start|>user\nThus so.<|im_end|>\n")
STOPS = ("Thus", "So ", "</think>", *Marks().sentence_ends)


def decode(ids: Sequence[int]) -> str:
    return str(TOKENIZER.decode(list(ids), skip_special_tokens=False))


def stopped(ids_text: str, text: str, stop: str) -> Completion:
    return Completion(encode(ids_text), text, "stop", stop)


def ids_of(completion: Completion, prompt: Sequence[int] = PROMPT) -> str:
    """The text of the ids that are kept."""
    return decode(settled(completion, prompt, TOKENIZER).token_ids)


@pytest.mark.parametrize(
    ("written", "text", "stop", "kept"),
    [
        ("It is 12. Thus", "It is 12. Thus", "Thus", "It is 12. Thus"),
        ("It is 12. Thus, the sum is 7", "It is 12. Thus", "Thus", "It is 12. Thus"),
        ("It is 12</think>\n\nThe sum is 12", "It is 12</think>", "</think>", "It is 12</think>"),
        ("It is 12.\n\nNow", "It is 12.", ".", "It is 12."),
        ("It is. So the", "It is. So ", "So ", "It is. So "),
        ("It is. So the sum", "It is. So ", "So ", "It is. So "),
        ("It is. So 😀 it", "It is. So ", "So ", "It is. So "),
        ("It is 你好。Thus 你", "It is 你好。Thus", "Thus", "It is 你好。Thus"),
    ],
)  # fmt: skip
def test_ids_end_with_the_token_that_completes_the_stop_string(
    written: str, text: str, stop: str, kept: str
) -> None:
    found = ids_of(stopped(written, text, stop))
    assert found.startswith(kept)
    shorter = settled(stopped(written, text, stop), PROMPT, TOKENIZER).token_ids[:-1]
    assert not decode(shorter).startswith(kept)


def test_half_a_character_behind_the_stop_string_is_cut() -> None:
    ids = [*encode("It is Thus"), *encode("😀")[:-1]]
    assert ids_of(Completion(ids, "It is Thus", "stop", "Thus")) == "It is Thus"


def test_an_id_that_is_no_token_behind_the_stop_string_is_cut() -> None:
    ids = [*encode("It is Thus"), 10**6]
    assert (
        settled(Completion(ids, "It is Thus", "stop", "Thus"), PROMPT, TOKENIZER).token_ids
        == (ids[:-1])
    )


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("It is 12.", "It is 12. Thus"),  # the cue is in no token
        (" so", "<|im_start|>user\nThus"),  # nor is a prompt's
        ("It was 12. Thus", "It is 12. Thus"),
        ("Thus", "It is 12. Thus"),
        ("It is 12. Thu", "It is 12. Thus"),
    ],
)
def test_a_cue_that_the_ids_do_not_write_is_no_answer(written: str, text: str) -> None:
    with pytest.raises(BadReplyError, match=r"its ids say .*, its text is "):
        ids_of(stopped(written, text, "Thus"))


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize(
    ("written", "text"),
    [("It is 12", ""), ("It is 12", "It is"), ("It is", "It is 12"), ("It was", "It is")],
)
def test_a_text_that_is_not_its_ids_is_no_answer(reason: str, written: str, text: str) -> None:
    with pytest.raises(BadReplyError):
        ids_of(Completion(encode(written), text, reason))  # type: ignore[arg-type]


def test_the_end_of_the_text_may_be_shown_or_not() -> None:
    ids = encode("It is 12<|im_end|>")
    for text in ("It is 12<|im_end|>", "It is 12"):
        assert settled(Completion(ids, text, "stop"), PROMPT, TOKENIZER).token_ids == ids


def test_half_a_character_at_the_end_is_not_in_the_text() -> None:
    ids = encode("It is 😀")[:-1]
    assert decode(ids).endswith("\ufffd")
    assert settled(Completion(ids, "It is ", "length"), PROMPT, TOKENIZER).token_ids == ids


def test_the_prompts_text_is_taken_away_where_it_ends_inside_a_character() -> None:
    face = encode("😀")
    prompt = [*PROMPT, *face[:-1]]
    ids = [face[-1], *encode(" is. Thus")]
    leaked = f"{decode(PROMPT)}😀 is. Thus"
    found = settled(Completion(ids, leaked, "stop", "Thus"), prompt, TOKENIZER)
    assert (found.token_ids, found.text) == (ids, "😀 is. Thus")
    with pytest.raises(BadReplyError):  # stopped at the prompt's own cue
        settled(Completion(ids[:1], "<|im_start|>user\nThus", "stop", "Thus"), prompt, TOKENIZER)


def metaspace() -> Tokenizer:
    """A tokenizer that drops the blank before the first word, as those of Llama do."""
    words = ["▁It", "▁is", "▁so", "▁Thus", "."]
    tokenizer = Tokenizer(BPE({word: i for i, word in enumerate(words)}, []))
    tokenizer.decoder = Metaspace()
    return tokenizer


def test_a_leading_blank_that_ids_lack_by_themselves_is_no_difference() -> None:
    tokenizer = metaspace()
    completion = Completion([2, 4, 3, 1], " so. Thus", "stop", "Thus")
    assert tokenizer.decode(completion.token_ids) == "so. Thus is"
    assert settled(completion, [0, 1], tokenizer).token_ids == [2, 4, 3]


def served(
    prompt: list[int], ids: list[int], stops: tuple[str, ...], at_once: int
) -> Completion | None:
    """What a server returns that writes `at_once` tokens at a time; None where it stops nowhere.

    Tokens behind the stop string are not dropped.
    """
    stream, text = DecodeStream(ids=prompt, skip_special_tokens=False), ""
    for n, token in enumerate(ids, 1):
        text += stream.step(TOKENIZER, token) or ""
        found = [(text.index(stop) + len(stop), stop) for stop in stops if stop in text]
        if found and n % at_once == 0:
            end, stop = min(found)
            return Completion(ids[:n], text[:end], "stop", stop)
    return None


FRAGMENTS = (*STOPS, "So, ", " the", ".x", "42", "\n", "😀", "👩\u200d👧", "你好。", "é", " 한")
texts = st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=30).map("".join)


@given(texts, texts, st.integers(2, 5))
def test_drafted_tokens_change_nothing_that_is_kept(before: str, text: str, at_once: int) -> None:
    prompt, ids = encode(before), encode(text)
    one_by_one = served(prompt, ids, STOPS, at_once=1)
    drafted = served(prompt, [*ids, *ids[:at_once]], STOPS, at_once)
    if one_by_one and drafted:
        assert settled(one_by_one, prompt, TOKENIZER) == one_by_one
        assert settled(drafted, prompt, TOKENIZER) == one_by_one


@given(texts, texts, st.integers(1, 200))
def test_ids_and_text_of_any_completion_agree(before: str, text: str, n: int) -> None:
    prompt = encode(before)
    ids = encode(f"{text}<|im_end|>")[:n]
    stream = DecodeStream(ids=prompt, skip_special_tokens=False)
    shown = "".join(stream.step(TOKENIZER, token) or "" for token in ids)
    assert settled(Completion(ids, shown, "length"), prompt, TOKENIZER).token_ids == ids
