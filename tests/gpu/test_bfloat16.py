"""The relay as a run uses it: bfloat16, all engines on one GPU, token ids handed over."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from stages.analysis.speedup import acceptance_length
from stages.config.schema import Params
from stages.config.selection import with_defaults
from stages.engine.client import Client
from stages.engine.server import Engine
from stages.generation import answers, asking
from stages.generation.answering import Answering, tasks
from stages.generation.store import Store
from stages.methods.base import Request
from stages.perf.handoff import Relaying
from stages.tracking.files import Row
from tests.conftest import TOKENIZER
from tests.gpu.conftest import PAIR, ROLES, Measured, running

pytestmark = pytest.mark.gpu

CUES = ("So ", "So,", "Thus", "Therefore,", "Hence,", "Now", "Next,", "Then,")
CONTEXT = 1000  # tokens before a hand-off
SLOW_MS = 100.0  # on two CPU cores a hand-off takes 3 ms
RELAYS = ("relaygen", "relaygen_eagle3")
Collect = Callable[..., list[Row]]


@pytest.fixture(scope="module")
def engines(
    params: Params, measured: Measured, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Engine]]:
    with running(params, "bfloat16", tmp_path_factory.mktemp("logs"), measured) as started:
        yield started


@pytest.fixture
def collect(
    params: Params, engines: Mapping[str, Engine], few_problems: pl.DataFrame, tmp_path: Path
) -> Collect:
    """Answer the problems with a relay; returns the answers."""

    def run(name: str, store: str = "store") -> list[Row]:
        pair, todo = params.pair(PAIR), tasks(few_problems, 1)
        method = with_defaults(params, PAIR, name)
        answering = Answering(params.seed, pair.budget, method, CUES, TOKENIZER)
        with Store(tmp_path / store) as kept:
            missing = asking.unanswered(todo, kept)
            asked = [asking.Asked(answering, missing, kept)]
            asking.collect(asked, engines, pair.sampling, params.infer, "test")
            return answers.rows(todo, kept)

    return run


def test_three_engines_run_on_one_gpu_with_and_without_the_head(
    engines: Mapping[str, Engine],
) -> None:
    assert {role: engine.alive for role, engine in engines.items()} == dict.fromkeys(ROLES, True)


@pytest.mark.parametrize("name", RELAYS)
def test_every_problem_gets_one_finished_answer(
    collect: Collect, measured: Measured, name: str
) -> None:
    rows = collect(name)
    seconds = sum(row["wall_s"] for row in rows)
    measured[f"{name}, tokens/s"] = round(sum(len(row["token_ids"]) for row in rows) / seconds, 1)
    assert [row["finish_reason"] for row in rows] == ["stop"] * 3


@pytest.mark.parametrize("name", RELAYS)
def test_one_at_a_time_repeats_itself_token_for_token(collect: Collect, name: str) -> None:
    first, again = collect(name, "a"), collect(name, "b")
    assert [row["token_ids"] for row in first] == [row["token_ids"] for row in again]


@pytest.mark.parametrize("name", RELAYS)
def test_no_token_stands_behind_the_cue_at_which_large_stopped(collect: Collect, name: str) -> None:
    handed_over = 0
    for row in collect(name):
        at = 0
        for segment, following in pairwise(row["segments"]):
            at += segment["n_tokens"]
            if segment["cue"]:
                text = TOKENIZER.decode(row["token_ids"][:at], skip_special_tokens=False)
                assert (segment["model"], following["model"]) == ("large", "small")
                assert text.endswith(segment["cue"].rstrip(" "))
                handed_over += 1
    assert handed_over


async def test_a_stop_string_among_drafted_tokens_ends_the_completion(
    engines: Mapping[str, Engine], params: Params, few_problems: pl.DataFrame
) -> None:
    ids = few_problems["prompt_ids"][0].to_list()
    many = tuple(f"never {i}" for i in range(60))
    async with Client(engines["eagle3"], params.pair(PAIR).sampling, params.infer) as client:
        completion = await client.complete(Request("", ids, 200, (*many, "steps")), 1, "stop")
    assert completion.stop == "steps"
    assert TOKENIZER.decode(completion.token_ids, skip_special_tokens=False).endswith("steps")


async def test_the_head_is_accepted_for_at_least_one_token_a_step(
    engines: Mapping[str, Engine], params: Params, few_problems: pl.DataFrame, measured: Measured
) -> None:
    async with Client(engines["eagle3"], params.pair(PAIR).sampling, params.infer) as client:
        before = await client.speculation()
        await client.complete(Request("", few_problems["prompt_ids"][0].to_list(), 300), 1, "a")
        after = await client.speculation()
    length = acceptance_length(after[0] - before[0], after[1] - before[1]) or 0
    measured["acceptance length"] = round(length, 2)
    assert length >= 2


def test_most_of_what_is_handed_over_is_in_the_prefix_cache(
    collect: Collect, measured: Measured
) -> None:
    rows = collect("relaygen")
    cached = sum(row["cached_tokens"] for row in rows) / sum(row["prompt_tokens"] for row in rows)
    measured["share of prompts in the prefix cache"] = round(cached, 3)
    assert 0.5 < cached < 1


async def test_a_hand_off_takes_little_time_outside_the_model(
    engines: Mapping[str, Engine], params: Params, measured: Measured
) -> None:
    cost = await Relaying(engines, params, params.pair(PAIR)).turn("tokens", CONTEXT)
    measured[f"hand-off outside the model, {CONTEXT} tokens, ms"] = round(cost.outside, 2)
    assert 0 < cost.outside < SLOW_MS
