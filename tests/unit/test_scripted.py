"""What the scripted server writes, without a server."""

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tokenizers import Tokenizer

from demo_pair import task
from stages.analysis.boxes import last_boxed
from tests.scripted.engine import DEFAULTS, Cache, Engine, RefusedError, Text, cut
from tests.scripted.writer import ASSISTANT, Writer, margin, parse

pytestmark = pytest.mark.unit

END = "<|im_end|>"
PIECES = ["So", " the", " end.", "\n\n", "</think>", END]
SURE, CARELESS = Writer("sure", slips=0.0), Writer("careless", slips=0.5)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file("demo_pair/large/tokenizer.json")


def chat(problem: task.Problem) -> str:
    return f"<|im_start|>user\n{problem.prompt}{END}\n{ASSISTANT}"


def problems(split: str, n: int = 5) -> list[task.Problem]:
    return list(task.problems(split, n, seed=1))


@pytest.mark.parametrize("split", ["chains_short", "chains_long", "chains_choice"])
def test_the_problem_is_read_from_its_prompt(split: str) -> None:
    assert [parse(one.prompt) for one in problems(split)] == problems(split)


@pytest.mark.parametrize("split", ["chains_short", "chains_long", "chains_choice"])
def test_a_model_without_slips_is_right(split: str) -> None:
    for problem in problems(split):
        assert last_boxed(SURE.continuation(chat(problem), seed=1)) == problem.answer


def test_a_careless_model_is_right_and_wrong() -> None:
    right = {
        last_boxed(CARELESS.continuation(chat(problem), seed=1)) == problem.answer
        for problem in problems("chains_short", 20)
    }
    assert right == {True, False}


def test_model_seed_and_prompt_decide_what_is_written() -> None:
    first, second = map(chat, problems("chains_long", 2))
    asked = [(writer, seed) for writer in (SURE, CARELESS) for seed in (1, 2)]
    written = [writer.continuation(one, seed) for writer, seed in asked for one in (first, second)]
    again = [writer.continuation(one, seed) for writer, seed in asked for one in (first, second)]
    assert written == again
    assert len(set(written)) == len(written)


def test_any_text_is_continued_to_one_whole_answer() -> None:
    problem, random = problems("chains_long", 1)[0], Random(1)
    whole = SURE.continuation(chat(problem), seed=1)
    for place in random.sample(range(len(whole)), 50):
        other = whole[:place] + CARELESS.continuation(chat(problem) + whole[:place], seed=2)
        assert other.count(".") == whole.count(".")
        assert other.count("</think>") == other.count("\\boxed{") == 1


def test_a_text_that_nobody_drew_is_gone_on_from() -> None:
    begun = chat(problems("chains_long", 1)[0]) + "<think>\nLet me check:"
    assert "\\boxed{" in SURE.continuation(begun, seed=1)


def test_easy_cues_lead_into_sentences_that_a_reader_is_surer_of() -> None:
    written = SURE.continuation(chat(problems("chains_long", 1)[0]), seed=1)
    sentences = [sentence.strip() for sentence in written.partition("</think>")[0].split(".")]
    easy = [margin(one, 3) for one in sentences if one.startswith(task.EASY_CUES)]
    hard = [margin(one, 3) for one in sentences if "must be" in one]
    assert min(easy) > max(hard)


def ended(**sampling: object) -> tuple[int, str, str, str | int | None]:
    text = cut(range(len(PIECES)), PIECES, {**DEFAULTS, **sampling}, end=len(PIECES) - 1)
    return len(text.token_ids), text.text, text.finish_reason, text.stop


def test_a_text_ends_with_its_stop_string_inside_the_token_that_completes_it() -> None:
    with_stop = {"include_stop_str_in_output": True}
    assert ended(stop=["So "], **with_stop) == (2, "So ", "stop", "So ")
    assert ended(stop=["."], **with_stop) == (3, "So the end.", "stop", ".")
    assert ended(stop=["."]) == (3, "So the end", "stop", ".")


def test_of_several_stop_strings_the_first_to_be_complete_counts() -> None:
    assert ended(stop=["</think>", "\n\n", "end."])[3] == "end."


def test_a_text_ends_by_itself_or_at_the_limit() -> None:
    whole = "".join(PIECES)
    shown = {"include_stop_str_in_output": True, "skip_special_tokens": False}
    assert ended(max_tokens=3) == (3, "So the end.", "length", None)
    assert ended(max_tokens=100) == (6, whole.removesuffix(END), "stop", None)
    assert ended(max_tokens=100, **shown) == (6, whole, "stop", None)


def test_the_cache_has_whole_blocks_of_the_same_salt_and_never_the_last_token() -> None:
    cache, ids = Cache(), list(range(100))
    cache.keep("a", ids)
    assert cache.cached("a", ids) == 96
    assert cache.cached("a", ids[:96]) == 64
    assert cache.cached("a", [1, *ids]) == cache.cached("b", ids) == 0


def test_tokens_of_a_text_are_those_of_its_pieces(tokenizer: Tokenizer) -> None:
    written = SURE.continuation(chat(problems("chains_long", 1)[0]), seed=1)
    ids = tokenizer.encode(written, add_special_tokens=False).ids
    pieces = [tokenizer.decode([i], skip_special_tokens=False) for i in ids]
    assert "".join(itertools.chain(pieces)) == written


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A server's engine, with its core."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    engine = Engine("demo_pair/small", "model", 1000, None)
    yield engine
    engine.core.kill()


def test_sigterm_to_the_core_leaves_the_beginning_of_what_is_in_flight(engine: Engine) -> None:
    whole = Text([5, 6, 7, 8], "", "stop", None)
    assert engine.as_the_core_leaves_it(whole) is whole
    engine.core.terminate()
    engine.core.wait()
    left = engine.as_the_core_leaves_it(whole)
    assert (left.token_ids, left.finish_reason) == ([5, 6], "abort")


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_any_other_end_of_the_core_is_an_error_of_the_server(
    engine: Engine, sign: signal.Signals
) -> None:
    engine.core.send_signal(sign)
    engine.core.wait()
    with pytest.raises(RefusedError, match="EngineCore"):
        engine.as_the_core_leaves_it(Text([5], "", "stop", None))
