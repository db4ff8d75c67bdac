"""The schema of params.yaml: one model per block, strict, with the checks that one block allows."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator

from stages.config import catalogue, families
from stages.config.block import Block
from stages.config.families import AnyFamily, Scoring
from stages.config.names import Name, PairName
from stages.config.tunable import Template
from stages.config.variables import Variable
from stages.methods import AnyMethod
from stages.methods.base import Handoff
from stages.runtime.errors import UserError

Value = TypeVar("Value")
Dtype = Literal["float32", "bfloat16", "float16"]
ArgValue = bool | int | float | str | list[Any] | dict[str, Any]
CALIBRATION = "amc23"  # in the catalogue: what the paper mined its cues on
PROMPT_TOKENS = 2048  # of the context, beside the budget
# Arguments of vLLM's server that stages.engine.spec and stages.engine.server set.
OUR_ARGS = (
    "model", "tokenizer", "revision", "tokenizer-revision", "served-model-name", "dtype",
    "max-model-len", "max-num-seqs", "tensor-parallel-size", "gpu-memory-utilization",
    "enable-prefix-caching", "speculative-config",
    "per-request-spec-decode-metrics", "enable-prompt-tokens-details",
    "enable-scale-out", "middleware", "chat-template", "disable-uvicorn-access-log",
    "disable-log-stats", "host", "port", "uds", "api-key", "trust-remote-code",
)  # fmt: skip
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}$", description="a branch moves")]


class Sampling(Block):
    """How tokens are drawn; the same for every engine of a pair."""

    temperature: float = Field(0.6, ge=0)
    top_p: Share = 0.95
    top_k: int = Field(0, ge=0, description="0: no limit")
    min_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, gt=0)
    bad_words: list[str] | None = None
    logit_bias: dict[int, float] | None = Field(None, description="{token id: what is added}")

    def given(self) -> dict[str, Any]:
        """Return the parameters that are sent: vLLM's own where one is left open."""
        return self.model_dump(exclude_none=True)


class ProblemSet(Block):
    """What every set of problems has. `prompt`: the words around a problem, not the family's."""

    scoring: Scoring
    prompt: str | None = None

    @field_validator("prompt")
    @classmethod
    def with_problem(cls, prompt: str | None) -> str | None:
        """A prompt without the problem would ask nothing."""
        if prompt is not None and "{problem}" not in prompt:
            raise ValueError("a prompt needs {problem}, which stands for the problem")
        return prompt


class DemoPair(ProblemSet):
    """Problems of the bundled task; the set's name is that of a split there."""

    source: Literal["demo_pair"]
    n_problems: Positive


class Given(ProblemSet):
    """What a published or local set of problems takes besides the place it lies at."""

    n_problems: Positive | None = Field(None, description="the first ones; none: all")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="of what is in it")


class Columns(Block):
    """Which columns hold what.

    Of multiple choice, either `wrong`: columns with a wrong option each, `answer` with the right
    one; or `choices`: the column with all options, `answer` with the letter of the right one.
    """

    problem: str
    answer: str
    wrong: list[str] = Field(default_factory=list)
    choices: str | None = None

    def check(self, scoring: Scoring) -> None:
        """Raise ValueError unless there are options for multiple choice, and for nothing else."""
        if self.wrong and self.choices:
            raise ValueError("columns.wrong and columns.choices are two ways: choose one")
        if bool(self.wrong or self.choices) != (scoring == "choice"):
            raise ValueError(
                "columns.wrong, the wrong options, or columns.choices, all of them, goes with "
                "scoring: choice"
            )


class Hub(Given):
    """A data set on the model hub."""

    source: Literal["hub"]
    path: str
    config: str | None = None
    revision: str = Field(description="a commit, for a branch moves")
    split: str
    columns: Columns

    @model_validator(mode="after")
    def complete(self) -> "Hub":
        """The revision stays what it is, and options go with their scoring."""
        if not re.fullmatch("[0-9a-f]{40}", self.revision):
            raise ValueError(f"revision '{self.revision}' is not a commit (40 hexadecimal digits)")
        self.columns.check(self.scoring)
        return self


class File(Given):
    """A local JSONL or Parquet file with the columns problem, answer and, of options, choices.

    `columns`: what they are called, if otherwise.
    """

    source: Literal["file"]
    path: str
    columns: Columns | None = None

    @model_validator(mode="after")
    def complete(self) -> "File":
        """Options go with their scoring."""
        if self.columns:
            self.columns.check(self.scoring)
        return self


class Traces(ProblemSet):
    """Traces that are there already: cues are mined on them, and nothing is asked."""

    source: Literal["traces"]
    path: str
    scoring: Scoring = "math"


# A set of problems, where it comes from and how its answers are compared.
Benchmark = Annotated[DemoPair | Hub | File, Field(discriminator="source")]
Benchmarks = Annotated[dict[Name, Benchmark], BeforeValidator(catalogue.whole)]
AnySet = Annotated[DemoPair | Hub | File | Traces, Field(discriminator="source")]
Calibration = Annotated[dict[Name, AnySet], BeforeValidator(catalogue.whole)]


class Drafter(Block):
    """Another model drafts: an Eagle-3 head, or a whole model with the engine's vocabulary."""

    method: Literal["eagle3", "draft_model"]
    model: str
    revision: Commit | None = None
    tokens: Positive = Field(description="drafted at once")

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        return f"the draft {'head' if self.method == 'eagle3' else 'model'} {self.model}"


class Ngram(Block):
    """The text so far drafts: what followed the last time that its last tokens stood there.

    `prompt_lookup_min`, `prompt_lookup_max`: how many of the last tokens; none: vLLM's default.
    """

    method: Literal["ngram"]
    tokens: Positive = Field(description="drafted at once")
    prompt_lookup_min: Positive | None = None
    prompt_lookup_max: Positive | None = None

    @model_validator(mode="after")
    def complete(self) -> "Ngram":
        """Both ends of the range are there, in order, or none."""
        low, high = self.prompt_lookup_min, self.prompt_lookup_max
        if (low is None) != (high is None):
            raise ValueError("prompt_lookup_min and prompt_lookup_max: give both or neither")
        if low and high and low > high:
            raise ValueError(f"prompt_lookup_min {low} is above prompt_lookup_max {high}")
        return self


# How an engine drafts tokens that its model only checks. It writes what the model alone would.
Speculation = Annotated[Drafter | Ngram, Field(discriminator="method")]


class Model(Block):
    """What an engine serves: a model, alone or with speculative decoding.

    `model` is a folder, or a name on the hub with a pinned revision; so is that of a drafter.
    `gpus`: cards of the engine, by tensor parallelism; 0: the CPU. `gpu_memory`: its share of each
    card's memory. `args`: further arguments of vLLM's server.
    """

    model: str
    revision: Commit | None = None
    speculation: Speculation | None = None
    gpus: int = Field(0, ge=0)
    gpu_memory: Share | None = Field(None, description="none: engines.gpu_memory")
    args: dict[str, ArgValue] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def shorthand(cls, given: object) -> object:
        """A model without speculation may be written as its folder alone."""
        return {"model": given} if isinstance(given, str) else given

    @field_validator("args")
    @classmethod
    def not_ours(cls, args: dict[str, ArgValue]) -> dict[str, ArgValue]:
        """None of the arguments is one that the pipeline sets itself."""
        for name in args:
            if not re.fullmatch("[a-z][a-z0-9-]*", name):
                raise ValueError(f"'{name}': write vLLM's arguments as max-num-seqs, without --")
            if name.removeprefix("no-") in OUR_ARGS:
                raise ValueError(f"'{name}' is set by the pipeline, from other keys of params.yaml")
        return args

    @property
    def drafter(self) -> Drafter | None:
        """The model that drafts for it, if one does."""
        return self.speculation if isinstance(self.speculation, Drafter) else None

    @property
    def parts(self) -> list[tuple[str, str | None]]:
        """The model and its drafter: name on the hub and revision, or folder and None."""
        return [(one.model, one.revision) for one in (self, self.drafter) if one]

    @property
    def on_hub(self) -> bool:
        """Whether any of it is fetched from the hub."""
        return any(revision for _, revision in self.parts)

    @property
    def folders(self) -> list[Path]:
        """Local folders of the model and its drafter."""
        return [Path(name) for name, revision in self.parts if not revision]


class AsReleased(Block):
    """Where the released code did otherwise than the paper says; each a switch.

    `prompt`: math prompts with a backspace and "oxed{}"; `options`: multiple choice not shuffled,
    the right one always A; `margins`: prompt tokens count among "the others" of a cue's effect;
    `handoff`: the relay hands over text, which the server tokenizes anew.
    """

    prompt: bool = False
    options: bool = False
    margins: bool = False
    handoff: bool = False


def usual_dtype(pair: dict[str, Any]) -> Dtype:
    """Return a pair's dtype where it gives none: vLLM's CPU server stops at some with bfloat16."""
    return "bfloat16" if any(one.gpus for one in pair.get("engines", {}).values()) else "float32"


def usual_length(pair: dict[str, Any]) -> int:
    """Return a pair's max_model_len where it gives none."""
    return int(pair.get("budget", 0)) + PROMPT_TOKENS


def first_benchmark(pair: dict[str, Any]) -> str:
    """Return the first of a pair's benchmarks, which tables with one benchmark take."""
    return next(iter(pair.get("benchmarks", {})), "")


class Pair(Block):
    """A large and a small model of one tokenizer, and how they are measured.

    `engines`, `benchmarks` and `budget` have to be given; all else has a usual value.
    """

    family: AnyFamily = Field(families.USUAL, validate_default=True)
    published: str | None = Field(None, description="the pair of the paper that this one is")
    engines: dict[Name, Model] = Field(description="role: what is served")
    dtype: Dtype = Field(default_factory=usual_dtype)
    budget: Positive
    max_model_len: Positive = Field(default_factory=usual_length)
    sampling: Sampling = Field(default_factory=Sampling)
    repeats: Positive = Field(1, description="answers per problem, calibration and benchmarks")
    cues: str = Field("mined", description="a set of cues, all, none, or a file of cues")
    cue_matching: Literal["boundary", "substring"] = "boundary"
    min_segments: Positive | None = Field(None, description="in place of cues.min_segments")
    concurrency: Positive | None = Field(None, description="in place of infer.concurrency")
    router: str | None = Field(None, description="R2R's router of the small model: a file")
    as_released: AsReleased = Field(default_factory=AsReleased)
    calibration: Calibration = Field([CALIBRATION], validate_default=True)
    benchmarks: Benchmarks
    speed_benchmark: str = Field(default_factory=first_benchmark)
    ablation_benchmark: str = Field(default_factory=first_benchmark)

    @model_validator(mode="after")
    def complete(self) -> "Pair":
        """Both models of the pair are there, one calibration set, and what is named exists."""
        for role in ("large", "small"):
            if role not in self.engines:
                raise ValueError(f"engines.{role} is missing: a pair has a large and a small model")
        if len({served.gpus > 0 for served in self.engines.values()}) > 1:
            raise ValueError("engines: gpus for all or none: a vLLM is built for GPUs or for CPUs")
        if len(self.calibration) != 1 or not self.benchmarks:
            raise ValueError("a pair needs one calibration set and at least one benchmark")
        if shared := set(self.calibration) & set(self.benchmarks):
            raise ValueError(f"{shared.pop()} is a calibration set and a benchmark: choose one")
        for key, name in self.single_benchmarks.items():
            if name not in self.benchmarks:
                have = ", ".join(self.benchmarks)
                raise ValueError(f"{key}: there is no benchmark '{name}', known: {have}")
        if self.cues == "published" and self.published is None:
            raise ValueError("cues: published goes with the name of the paper's pair (published)")
        return self

    @property
    def single_benchmarks(self) -> dict[str, str]:
        """{key: the one benchmark that it names}."""
        return {
            "speed_benchmark": self.speed_benchmark,
            "ablation_benchmark": self.ablation_benchmark,
        }

    @property
    def problem_sets(self) -> dict[str, AnySet]:
        """Calibration set and benchmarks together."""
        return {**self.calibration, **self.benchmarks}

    @property
    def calibration_set(self) -> str:
        """The name of the calibration set."""
        return next(iter(self.calibration))

    @property
    def recorded(self) -> Traces | None:
        """The traces that are there already; None if the large model writes them."""
        found = self.calibration[self.calibration_set]
        return found if isinstance(found, Traces) else None


class Engines(Block):
    """How vLLM servers are run on this machine."""

    cpu_threads: Positive
    kv_cache_gib: Positive
    gpu_memory: Share
    start_timeout_s: Positive
    base_port: Annotated[int, Field(ge=1024, le=65000)] | None
    env: dict[Variable, str] = Field(description="variables of vLLM and NCCL, which shape answers")


class Cues(Block):
    """When a candidate becomes a cue."""

    min_segments: Positive
    min_delta: float
    bootstrap: Positive


class Relay(Block):
    """The online switching rules, and how a model is told what the other wrote."""

    handoff: Handoff
    min_tokens: int = Field(ge=0)
    answer_engine: Literal["small", "large"]


class Infer(Block):
    """How answers are asked for. `shards`: jobs that share a method's problems among them."""

    shards: Positive
    concurrency: Positive
    request_timeout_s: Positive
    retries: int = Field(ge=0)


class Ablation(Block):
    """Variants of the relay that the ablation table sets beside it, on one benchmark."""

    methods: dict[Name, AnyMethod]


class Latency(Block):
    """The speed table's protocol."""

    n_problems: int = Field(ge=2, description="fewer give no standard deviation")
    runs: Positive


class Throughput(Block):
    """The protocol of answers under load. `run`: the pairs that are measured so; it takes long."""

    run: list[str]
    in_flight: list[Positive] = Field(min_length=1, description="answers at a time")
    n_problems: Positive


class Tune(Block):
    """Policies that `relaygen tune` chooses from. `quantiles`: of the small model's margins.

    `mixture`: whether the margin is tried as well at which a mixture of two Gaussians divides them.
    `first_problems`: of the calibration set, in the first round. `max_loss`: points of Pass@1 that
    the chosen one may lose to the large model, there.
    """

    quantiles: list[Share] = Field(min_length=1)
    mixture: bool = False
    first_problems: Positive
    max_loss: float = Field(ge=0)
    policies: dict[Name, Template] = Field(min_length=1)


class Tables(Block):
    """Intervals in the tables."""

    bootstrap: Positive


class Containers(Block):
    """Where stages run: on the machine itself, or each in an image."""

    use: Literal["none", "apptainer"]
    pipeline: str = Field(description="the image of stages without an engine")
    engine: str = Field(description="the image of stages that start engines")


class Params(Block):
    """The whole file."""

    seed: int
    run: list[str] = Field(min_length=1)
    containers: Containers
    pairs: dict[PairName, Pair]
    engines: Engines
    cues: Cues
    relay: Relay
    infer: Infer
    latency: Latency
    throughput: Throughput
    methods: dict[Name, AnyMethod] = Field(min_length=1)
    ablation: Ablation
    tune: Tune
    tables: Tables

    def pair(self, name: str) -> Pair:
        """The pair `name`, or an error that lists the known ones."""
        return known(self.pairs, name, "pair")

    def method(self, name: str) -> AnyMethod:
        """The method `name`, or an error that lists the known ones."""
        return known(self.all_methods, name, "method")

    @property
    def all_methods(self) -> dict[str, AnyMethod]:
        """What is compared, and the ablation's variants."""
        return {**self.methods, **self.ablation.methods}


def known(table: dict[str, Value], name: str, what: str) -> Value:
    """table[name], or an error that lists what there is."""
    if name not in table:
        raise UserError(f"unknown {what} '{name}', params.yaml has: {', '.join(table)}")
    return table[name]
