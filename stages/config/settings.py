"""What one stage may know of params.yaml, worked out for its pair."""

from typing import Any, Literal

from stages.config.block import Block
from stages.config.families import Family, Scoring
from stages.config.schema import AnySet, Cues, Latency, Model, Sampling, Throughput
from stages.methods.base import Marks, Method
from stages.methods.matching import CueMatching


class Recorded(Block):
    """Traces that are there already, and the family that says how they were asked for."""

    path: str
    family: Family


class Settings(Block):
    """The settings of one stage. Those that its recipe does not hold are not set.

    Reading one of these raises AttributeError, so a result cannot depend on a setting that its
    recipe does not name (stages.tracking.targets says which stage has which).
    """

    pair: str
    seed: int
    # Problems and their prompts.
    problem_set: AnySet
    prompts: dict[str, str]  # {wording: template around a problem}
    template_args: dict[str, Any]  # of the chat template
    think_start: str
    think_end: str
    template_opens: bool | None  # whether a chat ends with it; None: not checked
    shuffle: bool  # options of multiple choice are drawn in an order of their own
    # Models, and how they answer.
    tokenizer: Model  # the large model, for its tokenizer and chat template alone
    tokenizers: dict[str, Model]
    engines: dict[str, Model]
    engine_env: dict[str, str]
    dtype: str
    max_model_len: int
    sampling: Sampling
    budget: int
    marks: Marks
    repeats: int
    # What is compared, each method with its defaults filled in.
    method: Method
    methods: dict[str, Method]
    method_names: list[str]
    variant_names: list[str]
    roles: dict[str, list[str]]  # {method: roles of the engines that it needs}
    prompt_column: str  # of a problem set: the wording that the method asks in
    skip_reason: str | None  # of the method
    left_out: dict[str, str]
    benchmarks: list[str]
    scoring: dict[str, Scoring]
    speed_benchmark: str
    ablation_benchmark: str
    calibration_set: str
    recorded: Recorded | None  # in place of answers to the calibration set
    # Cues.
    candidates: list[str] | Literal["auto"]  # auto: what opens sentences in the traces
    cues: Cues
    segment_ends: list[str]
    cue_matching: CueMatching
    matching: CueMatching | None  # the method's; None: it hands nothing over
    min_tokens: int  # of a segment, which no cue may end
    cue_words: list[str] | None  # None: those that are mined
    include_prompt: bool  # prompt tokens count among "the others" of a cue's effect
    # Measuring and printing.
    latency: Latency
    throughput: Throughput
    under_load: list[str]  # the pairs that are measured under load
    bootstrap: int
    min_segments: int
    run: list[str]
    published: dict[str, str | None]
