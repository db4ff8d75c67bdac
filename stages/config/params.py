"""params.yaml as one model: a wrong key, type or combination stops everything before the first job.

`python -m stages.params` checks the file and says so.
"""

import argparse
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from stages.config.block import Block
from stages.methods import AnyMethod
from stages.runtime.errors import UserError
from stages.tracking.files import write_text

Value = TypeVar("Value")
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}$", description="a branch moves")]
Scoring = Literal["math", "choice"]
NEEDED_METHODS = {
    "large": "every speedup is against it",
    "relaygen": "the ablation compares its variants with it",
}
Family = Literal["demo", "qwen3", "r1"]
Handoff = Literal["tokens", "text"]


class Sampling(Block):
    """How tokens are drawn; the same for every engine of a pair."""

    temperature: float = Field(ge=0)
    top_p: Share
    top_k: int = Field(ge=0, description="0: no limit")


class DemoPair(Block):
    """Problems of the bundled task; the set's name is that of a split there."""

    source: Literal["demo_pair"]
    n_problems: Positive
    scoring: Scoring


class Given(Block):
    """What a published or local set of problems takes besides the place it lies at."""

    scoring: Scoring
    n_problems: Positive | None = Field(None, description="the first ones; none: all")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="of what is in it")


class Columns(Block):
    """Which columns hold what; `wrong`: the wrong options, where `answer` is the right one."""

    problem: str
    answer: str
    wrong: list[str] = Field(default_factory=list)


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
        if bool(self.columns.wrong) != (self.scoring == "choice"):
            raise ValueError("columns.wrong, the wrong options, goes with scoring: choice")
        return self


class File(Given):
    """A local JSONL or Parquet file with the columns problem, answer and, of options, choices."""

    source: Literal["file"]
    path: str


# A set of problems, where it comes from and how its answers are compared.
Benchmark = Annotated[DemoPair | Hub | File, Field(discriminator="source")]


class Model(Block):
    """What an engine serves: a model, alone or with an Eagle-3 draft head.

    `model` and `draft` are folders, or names on the hub with a pinned revision. `gpus`: cards of
    the engine, by tensor parallelism; 0: the CPU.
    """

    model: str
    revision: Commit | None = None
    draft: str | None = None
    draft_revision: Commit | None = None
    draft_tokens: Positive | None = None
    gpus: int = Field(0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def shorthand(cls, given: object) -> object:
        """A model without a draft head may be written as its folder alone."""
        return {"model": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def complete(self) -> "Model":
        """A draft head comes with the number of tokens it drafts at once."""
        if (self.draft is None) != (self.draft_tokens is None):
            raise ValueError("draft and draft_tokens belong together: give both or neither")
        if self.draft_revision and not self.draft:
            raise ValueError("draft_revision goes with a draft")
        return self

    @property
    def parts(self) -> list[tuple[str, str | None]]:
        """The model and its draft head: name on the hub and revision, or folder and None."""
        draft = [(self.draft, self.draft_revision)] if self.draft else []
        return [(self.model, self.revision), *draft]

    @property
    def on_hub(self) -> bool:
        """Whether any of it is fetched from the hub."""
        return any(revision for _, revision in self.parts)

    @property
    def folders(self) -> list[Path]:
        """Those of its parts that are not."""
        return [Path(name) for name, revision in self.parts if not revision]


class AsReleased(Block):
    """Where the released code did otherwise than the paper says; each a switch.

    `prompt`: math prompts with a backspace and "oxed{}"; `options`: multiple choice not shuffled,
    the right one always A; `margins`: prompt tokens count among "the others" of a cue's effect;
    `handoff`: the relay hands over text, which the server tokenizes anew.
    """

    prompt: bool
    options: bool
    margins: bool
    handoff: bool


class Pair(Block):
    """A large and a small model of one tokenizer, and how they are measured."""

    family: Family
    published: str | None = Field(None, description="the pair of the paper that this one is")
    engines: dict[str, Model] = Field(description="role: what is served")
    dtype: Literal["float32", "bfloat16", "float16"]
    max_model_len: Positive
    sampling: Sampling
    budget: Positive
    repeats: Positive = Field(description="answers per problem, calibration and benchmarks")
    cues: str = Field(description="mined, published, or a file of cues")
    cue_matching: Literal["boundary", "substring"]
    as_released: AsReleased
    calibration: dict[str, Benchmark]
    benchmarks: dict[str, Benchmark]
    speed_benchmark: str
    ablation_benchmark: str

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
    def problem_sets(self) -> dict[str, Benchmark]:
        """Calibration set and benchmarks together."""
        return {**self.calibration, **self.benchmarks}

    @property
    def calibration_set(self) -> str:
        """The name of the calibration set."""
        return next(iter(self.calibration))


class Engines(Block):
    """How vLLM servers are run on this machine."""

    cpu_threads: Positive
    kv_cache_gib: Positive
    gpu_memory: Share
    start_timeout_s: Positive
    base_port: Annotated[int, Field(ge=1024, le=65000)] | None


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

    methods: dict[str, AnyMethod]


class Latency(Block):
    """The speed table's protocol."""

    n_problems: int = Field(ge=2, description="fewer give no standard deviation")
    runs: Positive


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
    pairs: dict[str, Pair]
    engines: Engines
    cues: Cues
    relay: Relay
    infer: Infer
    latency: Latency
    methods: dict[str, AnyMethod] = Field(min_length=1)
    ablation: Ablation
    tables: Tables

    @model_validator(mode="after")
    def consistent(self) -> "Params":
        """Names that refer to other blocks exist there."""
        for needed, reason in NEEDED_METHODS.items():
            if needed not in self.methods:
                raise ValueError(f"methods.{needed} is missing: {reason}")
        if shared := set(self.methods) & set(self.ablation.methods):
            raise ValueError(f"ablation.methods.{shared.pop()}: methods has this name too")
        roles = {role for pair in self.pairs.values() for role in pair.engines}
        for name, method in self.all_methods.items():
            for role in set(method.roles) - roles:
                have = ", ".join(sorted(roles))
                raise ValueError(f"methods.{name}: no pair has an engine '{role}', known: {have}")
        for name in self.run:
            if name not in self.pairs:
                raise ValueError(f"run: unknown pair '{name}', known: {', '.join(self.pairs)}")
            for needed in NEEDED_METHODS:
                if why := self.why_not(name, needed):
                    raise ValueError(f"methods.{needed}: {why}")
        return self

    def why_not(self, pair: str, name: str) -> str | None:
        """Why a pair goes without a method; None if it does not."""
        settings, method = self.pair(pair), self.method(name)
        for role in method.roles:
            if role not in settings.engines:
                return f"pair '{pair}' has no engine '{role}', known: {', '.join(settings.engines)}"
        if method.cues == "published" and settings.published is None:
            return f"pair '{pair}' has no published cues"
        if name in self.ablation.methods and self.settled(pair, name) == self.settled(
            pair, "relaygen"
        ):
            return f"for pair '{pair}' it is relaygen itself"
        return None

    def settled(self, pair: str, name: str) -> dict[str, Any]:
        """A relay's line, what it leaves open filled in."""
        line = self.method(name).model_dump()
        settings = self.pair(pair)
        return line | {
            "cues": self.cues_of(pair, name),
            "cue_matching": line.get("cue_matching") or settings.cue_matching,
            "answer_engine": line.get("answer_engine") or self.relay.answer_engine,
        }

    def handoff(self, pair: Pair, method: AnyMethod) -> Handoff:
        """What a method's requests hold; a model alone hands nothing over."""
        as_text = pair.as_released.handoff or self.relay.handoff == "text"
        return "text" if as_text and method.kind == "relay" else "tokens"

    def cues_of(self, pair: str, name: str) -> str:
        """none, mined, published, all, or a file of cues."""
        cues = self.method(name).cues
        return self.pair(pair).cues if cues == "pair" else cues

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

    def methods_of(self, pair: str) -> dict[str, AnyMethod]:
        """What is compared for a pair: methods whose engines and cues it has."""
        return self._had_by(pair, self.methods)

    def variants_of(self, pair: str) -> dict[str, AnyMethod]:
        """The ablation's variants of a pair, likewise."""
        return self._had_by(pair, self.ablation.methods)

    def _had_by(self, pair: str, methods: dict[str, AnyMethod]) -> dict[str, AnyMethod]:
        """Those of `methods` that a pair does not go without."""
        return {name: one for name, one in methods.items() if not self.why_not(pair, name)}

    def benchmarks_of(self, pair: str, method: str) -> list[str]:
        """What a method answers: an ablation's variant one benchmark, the others all."""
        if method in self.ablation.methods:
            return [self.pair(pair).ablation_benchmark]
        return list(self.pair(pair).benchmarks)


def known(table: dict[str, Value], name: str, what: str) -> Value:
    """table[name], or an error that lists what there is."""
    if name not in table:
        raise UserError(f"unknown {what} '{name}', params.yaml has: {', '.join(table)}")
    return table[name]


def load(path: Path) -> Params:
    """Read and check params.yaml; one line for all that is wrong with it."""
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run from the project's root") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(describe(dict(item)) for item in error.errors())
        raise UserError(f"{path}: {problems}") from error


def describe(item: dict[str, Any]) -> str:
    """One pydantic error in plain words, with the key's path."""
    key = ".".join(str(part) for part in without_source(item["loc"]))
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(item["loc"][-1]), all_keys(), n=1)
        return f"{key}: unknown key" + (f", did you mean '{close[0]}'?" if close else "")
    message = str(item["msg"]).removeprefix("Value error, ")
    if not key:
        return message
    given = "" if item["type"] == "missing" else f" (given: {item['input']!r:.60})"
    return f"{key}: {message}{given}"


def without_source(path: Sequence[int | str]) -> Sequence[int | str]:
    """A key's path less what pydantic adds to it: a benchmark's source, behind its name."""
    match path:
        case ["pairs", _, "calibration" | "benchmarks", _, _, *below]:
            return [*path[:4], *below]
    return path


def all_keys(block: type[Block] = Block) -> set[str]:
    """Every key of the file, for suggestions."""
    below = (all_keys(kind) for kind in block.__subclasses__())
    return set(block.model_fields).union(*below)


def main() -> None:
    """Check the file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, help="a file that says so, always the same")
    args = parser.parse_args()
    load(args.params)
    if args.out:
        write_text(args.out, f"{args.params}: valid when this run began\n")
    print(f"{args.params}: valid")


if __name__ == "__main__":
    from stages.runtime.command_line import run

    run(main)
