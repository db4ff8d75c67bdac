"""What a plan assumes before anything has run: the schema of workflow/reference/plan.yaml."""

from pathlib import Path

import yaml
from pydantic import Field

from stages.config.block import Block
from stages.runtime.errors import UserError


class Node(Block):
    """A machine with GPUs. `overhead_gib`: memory of a GPU that is neither weights nor KV cache."""

    gpus: int
    gpu_gib: float
    overhead_gib: float
    source: str


class Shape(Block):
    """The sizes of a model that decide how much GPU memory it takes."""

    billions: float = Field(description="parameters")
    layers: int
    heads: int
    kv_heads: int
    head_dim: int


class Disk(Block):
    """Bytes per token in each kind of file."""

    answers: float
    traces: float
    margins: float
    checkpoints: float
    source: str


class Tokens(Block):
    """Mean completion tokens of an answer, by the model that writes it: {benchmark: tokens}."""

    large: dict[str, int]
    small: dict[str, int]
    answer_stage: int
    source: str

    def of(self, writer: str, benchmark: str) -> int:
        """Return the tokens of one answer."""
        table = self.small if writer == "small" else self.large
        return table.get(benchmark, table["other"])


class Speed(Block):
    """The speed of a pair's models. `slowdown`: added time per further answer in flight."""

    ms_per_token: dict[str, float]
    slowdown: float
    read_tokens_per_s: float
    start_s: float
    source: str


class FamilyEstimates(Block):
    """What is assumed of all pairs of a family.

    `speedups`: {method: speedup over the large model}, or a pair of the paper's Table 3.
    """

    tokens: Tokens
    speed: Speed
    speedups: dict[str, float] | str


class Assumptions(Block):
    """The whole file."""

    node: Node
    prompt_tokens: int
    stage_s: float = Field(description="of a stage besides engines and answers, on two cores")
    problems: dict[str, int]
    models: dict[str, Shape]
    disk: Disk
    families: dict[str, FamilyEstimates]

    def problems_of(self, name: str) -> int:
        """Return the number of problems of a data set on the hub; UserError if it is not known."""
        if name not in self.problems:
            raise UserError(
                f"{name}: how many problems it has is not known before the hub is asked: give it "
                "n_problems in params.yaml, or a line under `problems` in "
                "workflow/reference/plan.yaml"
            )
        return self.problems[name]


def load(path: Path) -> Assumptions:
    """Return the assumptions in `path`."""
    return Assumptions.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def published_speedups(paper: Path, pair: str) -> dict[str, float]:
    """Return {method: speedup} of a pair from the paper's Table 3, in the file `paper`."""
    table = yaml.safe_load(paper.read_text(encoding="utf-8"))["speed"][pair]
    return {method: values["speedup"][0] for method, values in table.items()}
