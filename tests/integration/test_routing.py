"""R2R on real engines against a slow reference: transformers, token by token, states in hand."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache

from stages.config.schema import Params, Sampling
from stages.engine import server
from stages.engine.server import Engine
from stages.engine.spec import specs
from stages.generation import answers, asking
from stages.generation.answering import Answering, tasks
from stages.generation.store import Store
from stages.methods import of_kind
from stages.methods.base import Method
from stages.problems.prompts import problem_set
from stages.tracking.files import Row
from stages.tracking.resolving import settings_of
from stages.tracking.targets import Target
from tests.conftest import TOKENIZER
from tests.router_reference import by_hand

pytestmark = pytest.mark.integration
N_PROBLEMS = 20
ENTROPY = 0.45
Decide = Callable[[Tensor, Tensor, int], bool]  # by S's last hidden state, logits and token


def method(**settings: Any) -> Method:
    line = {"kind": "token_route", "large": "large", "small": "small", "cues": "none"}
    return of_kind({**line, **settings})


ROUTER = "demo_pair/router/model.safetensors"
METHODS = {"entropy": method(router="entropy"), "router": method(router=ROUTER)}


@pytest.fixture(scope="module")
def routing(
    params: Params, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Engine]]:
    """L, and S with the routers of all methods."""
    routers = [router for one in METHODS.values() for router in one.routers.items()]
    wanted = specs(params.pair("demo"), params.engines, ("large", "small"), 4, routers=routers)
    with server.running(wanted, params.engines, tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="module")
def problems(params: Params) -> pl.DataFrame:
    settings = settings_of(params, Target("prepare", "demo", "chains_short"))
    some = settings.problem_set.model_copy(update={"n_problems": N_PROBLEMS})
    return problem_set("chains_short", settings.model_copy(update={"problem_set": some}))[0]


def answered(
    params: Params, engines: Mapping[str, Engine], problems: pl.DataFrame, one: Method, store: Path
) -> list[Row]:
    """The engines' greedy answers."""
    todo, greedy = tasks(problems, 1), Sampling(temperature=0)
    by = Answering(params.seed, params.pair("demo").budget, one, (), TOKENIZER)
    with Store(store) as kept:
        asking.collect([asking.Asked(by, todo, kept)], engines, greedy, params.infer, "test")
        return answers.rows(todo, kept)


class Reference:
    """A model that reads token by token."""

    def __init__(self, folder: str) -> None:
        torch.set_num_threads(1)  # engines compute meanwhile
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.begin()

    def begin(self) -> None:
        self.cache, self.read = DynamicCache(config=self.model.config), 0

    def next(self, ids: list[int]) -> tuple[Tensor, Tensor, int]:
        """(last hidden state, logits, likeliest token) behind `ids`, which have grown."""
        new = torch.tensor([ids[self.read :]])
        with torch.inference_mode():
            out = self.model(new, past_key_values=self.cache, output_hidden_states=True)
        self.read = len(ids)
        return out.hidden_states[-1][0, -1], out.logits[0, -1], int(out.logits[0, -1].argmax())


def reference(
    small: Reference, large: Reference, prompt: list[int], budget: int, decide: Decide
) -> tuple[list[int], list[int]]:
    """(token ids of the answer, positions of L's among them)."""
    ids, routed = list(prompt), list[int]()
    small.begin()
    large.begin()
    for position in range(budget):
        state, logits, token = small.next(ids)
        if decide(state, logits, token):
            routed.append(position)
            token = large.next(ids)[2]
        ids.append(token)
        if token == small.model.config.eos_token_id:
            break
    return ids[len(prompt) :], routed


def positions_of_large(row: Row) -> list[int]:
    """Where L's tokens stand in an answer."""
    found, at = list[int](), 0
    for segment in row["segments"]:
        if segment["model"] == "large":
            found += range(at, at + segment["n_tokens"])
        at += segment["n_tokens"]
    return found


def by_entropy(_: Tensor, logits: Tensor, __: int) -> bool:
    return float(torch.distributions.Categorical(logits=logits).entropy()) >= ENTROPY


def by_router(small: Reference) -> Decide:
    """The bundled router, from its file."""
    weights = load_file(ROUTER)
    with safe_open(ROUTER, framework="pt") as file:
        threshold = float(file.metadata()["threshold"])
    embed = small.model.get_input_embeddings()

    @torch.inference_mode()
    def decide(state: Tensor, logits: Tensor, token: int) -> bool:
        read = state[None], embed(torch.tensor([token])), logits.topk(100).values[None]
        return float(by_hand(weights, *read)) >= threshold

    return decide


@pytest.mark.parametrize("name", METHODS)
def test_routes_the_same_positions_to_the_same_tokens_as_the_reference(
    params: Params,
    routing: Mapping[str, Engine],
    problems: pl.DataFrame,
    name: str,
    tmp_path: Path,
) -> None:
    rows = answered(params, routing, problems, METHODS[name], tmp_path / "store")
    small, large = Reference("demo_pair/small"), Reference("demo_pair/large")
    decide = by_entropy if name == "entropy" else by_router(small)
    budget, n_routed = params.pair("demo").budget, 0
    for row, prompt in zip(rows, problems["prompt_ids"].to_list(), strict=True):
        ids, routed = reference(small, large, prompt, budget, decide)
        assert (row["token_ids"], positions_of_large(row)) == (ids, routed)
        n_routed += len(routed)
    assert n_routed > N_PROBLEMS
