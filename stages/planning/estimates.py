"""What a run would take: tokens, hours, memory and disk, from assumptions that are data.

The arithmetic of the stage plan: pure functions, units in their names.
"""

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import Field

from stages.config.block import Block
from stages.config.schema import Model
from stages.runtime.errors import UserError

GIB = 2**30
MS_PER_HOUR = 3_600_000
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class Node(Block):
    """A machine with GPUs. `overhead_gib`: of a card, beside weights and KV cache."""

    cards: int
    card_gib: float
    overhead_gib: float
    source: str


class Shape(Block):
    """What a model takes of a card."""

    billions: float = Field(description="parameters")
    layers: int
    heads: int
    kv_heads: int
    head_dim: int


class Disk(Block):
    """Bytes that a token takes in each kind of file."""

    answers: float
    traces: float
    margins: float
    shards: float
    source: str


class Tokens(Block):
    """Mean completion tokens of an answer, by who writes it: {benchmark: tokens}."""

    large: dict[str, int]
    small: dict[str, int]
    answer_stage: int
    source: str

    def of(self, writer: str, benchmark: str) -> int:
        """Tokens of one answer."""
        table = self.small if writer == "small" else self.large
        return table.get(benchmark, table["other"])


class Speed(Block):
    """How fast the models of a pair are. `slowdown`: by every further answer in flight."""

    ms_per_token: dict[str, float]
    slowdown: float
    read_tokens_per_s: float
    start_s: float
    source: str


class Family(Block):
    """Assumptions about the pairs of a family.

    `speedups`: {method: speedup over the large model}, or a pair of the paper's Table 3.
    """

    tokens: Tokens
    speed: Speed
    speedups: dict[str, float] | str


class Assumptions(Block):
    """workflow/reference/plan.yaml."""

    node: Node
    prompt_tokens: int
    problems: dict[str, int]
    models: dict[str, Shape]
    disk: Disk
    families: dict[str, Family]


def load(path: Path) -> Assumptions:
    """The assumptions in `path`."""
    return Assumptions.model_validate(yaml.safe_load(path.read_text()))


def printed_speedups(paper: Path, pair: str) -> dict[str, float]:
    """{method: speedup} that the paper's Table 3 prints for a pair."""
    table = yaml.safe_load(paper.read_text())["speed"][pair]
    return {method: figures["speedup"][0] for method, figures in table.items()}


def in_flight(concurrency: int, answers: int, tokens: float, room: int | None) -> int:
    """Answers that are written at once: no more than there are, or than have `room` for tokens."""
    most = min(concurrency, answers)
    return max(1, most if room is None else min(most, int(room / tokens)))


def hours(tokens: float, ms_per_token: float, at_once: int, slowdown: float) -> float:
    """Time to write `tokens`, `at_once` answers in flight: each further one slows all down."""
    return tokens / at_once * ms_per_token * (1 + slowdown * (at_once - 1)) / MS_PER_HOUR


def reading_hours(tokens: float, tokens_per_s: float) -> float:
    """Time to read `tokens` of prompts."""
    return tokens / tokens_per_s / 3600


def weights_gib(billions: float, bytes_each: int, gpus: int) -> float:
    """GiB of weights on each of `gpus` cards."""
    return billions * 1e9 * bytes_each / gpus / GIB


def kv_bytes(shape: Shape, bytes_each: int, gpus: int) -> int:
    """Bytes that a token's keys and values take on each card; a card holds at least one head."""
    heads = max(1, shape.kv_heads // gpus)
    return shape.layers * heads * shape.head_dim * 2 * bytes_each


def kv_tokens(free_gib: float, bytes_per_token: int) -> int:
    """Tokens whose keys and values fit."""
    return max(0, int(free_gib * GIB / bytes_per_token))


def shapes(served: Model, models: Mapping[str, Shape]) -> list[Shape]:
    """The shapes of an engine's model and draft head; empty if one is not known."""
    names = [name for name in (served.model, served.draft) if name]
    return [models[name] for name in names] if all(name in models for name in names) else []


def stored_bytes(served: Model, models: Mapping[str, Shape], bytes_each: int) -> dict[str, float]:
    """{model: bytes of its weights} on disk, of those that come from the hub."""
    names = [name for name in (served.model, served.draft) if name and served.on_hub]
    return {name: models[name].billions * 1e9 * bytes_each for name in names if name in models}


def engine_weights_gib(served: Model, known: Assumptions, bytes_each: int) -> float:
    """GiB of weights on each card of an engine; 0 if its models are not known."""
    found = shapes(served, known.models)
    return sum(weights_gib(shape.billions, bytes_each, served.gpus) for shape in found)


def engine_room(served: Model, known: Assumptions, bytes_each: int, memory: float) -> int | None:
    """Tokens that an engine's KV cache holds at `memory` of each card; None: not known."""
    if not served.gpus or not (found := shapes(served, known.models)):
        return None
    taken = engine_weights_gib(served, known, bytes_each) + known.node.overhead_gib
    each = sum(kv_bytes(shape, bytes_each, served.gpus) for shape in found)
    return kv_tokens(memory * known.node.card_gib - taken, each)


def problems_known(name: str, known: Assumptions) -> int:
    """Problems of a data set on the hub."""
    if name not in known.problems:
        raise UserError(
            f"{name}: how many problems it has is not known before the hub is asked: give it "
            "n_problems in params.yaml, or a line under `problems` in workflow/reference/plan.yaml"
        )
    return known.problems[name]
