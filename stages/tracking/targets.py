"""What a run makes: its stages, for each pair, method and problem set, and what each may know."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from stages.config.schema import Params

FOLDER = Path("results/recipes")
Unit = Literal["run", "pair", "method", "set"]


class Target(NamedTuple):
    """What a recipe is for: a stage, its pair, and its method or problem set where it has one."""

    stage: str
    pair: str | None = None
    name: str | None = None

    @property
    def path(self) -> Path:
        """The recipe's file."""
        parts = [part for part in (self.pair, self.stage, self.name) if part]
        return FOLDER.joinpath(*parts[:-1], f"{parts[-1]}.yaml")

    def checkpoint(self, part: str = "1of1") -> str:
        """Return the name of a checkpoint in the store: no two jobs of a run append to one."""
        return "-".join(filter(None, (*self, part)))

    def __str__(self) -> str:
        parts = [part for part in (self.pair, self.name) if part]
        return f"{self.stage} ({', '.join(parts)})" if parts else self.stage


@dataclass(frozen=True)
class Stage:
    """What a stage's recipe holds.

    `per`: there is one recipe for the run, or for each pair, method or problem set. `settings`:
    fields of Settings. `files`: reference files that the stage itself reads.
    """

    per: Unit
    settings: tuple[str, ...]
    files: tuple[str, ...] = ()


ENGINES = ("engines", "engine_env", "dtype", "max_model_len", "tokenizer")
ANSWERS = ("seed", *ENGINES, "sampling", "budget", "marks")
STAGES = {
    "prepare": Stage(
        "set",
        ("seed", "problem_set", "prompts", "template_args", "think_start", "think_end",
         "template_opens",
         "shuffle", "tokenizer", "budget", "max_model_len"),
    ),
    "tokenizer": Stage("pair", ("tokenizers", "tokenizer", "max_model_len")),
    "traces": Stage("pair", (*ANSWERS, "repeats", "calibration_set", "method", "recorded")),
    "margins": Stage("pair", ENGINES),
    "cues": Stage("pair", ("seed", "candidates", "cues", "cue_matching", "segment_ends",
                              "include_prompt")),
    "cue_set": Stage("method", ("cue_words", "matching")),
    "replay": Stage("pair", ("min_tokens", "marks")),
    "infer": Stage("method", (*ANSWERS, "method", "benchmarks", "repeats", "skip_reason")),
    "merge": Stage("method", ("benchmarks", "repeats", "prompt_column", "skip_reason")),
    "score": Stage("pair", ("method_names", "scoring", "repeats")),
    "summary": Stage("pair", ("method_names", "benchmarks", "left_out", "bootstrap", "seed")),
    "ablation": Stage(
        "pair", ("variant_names", "ablation_benchmark", "scoring", "repeats", "bootstrap", "seed")
    ),
    "latency": Stage("pair", (*ANSWERS, "methods", "speed_benchmark", "latency")),
    "speed": Stage("pair", ("roles", "bootstrap", "seed")),
    "throughput": Stage("pair", (*ANSWERS, "methods", "speed_benchmark", "throughput")),
    "load": Stage("pair", ("speed_benchmark",)),
    "answer_stage": Stage("pair", (*ANSWERS, "benchmarks", "scoring", "method")),
    "tables": Stage("run", ("run", "under_load", "published"), ("workflow/reference/paper.yaml",)),
    "figures": Stage(
        "pair", ("min_segments", "cue_matching", "segment_ends", "speed_benchmark", "budget")
    ),
    "excerpts": Stage("pair", ("method_names", "benchmarks", "speed_benchmark", "min_segments")),
    "report": Stage(
        "run",
        ("run", "under_load", "published"),
        ("workflow/report.html.j2", "workflow/reference/paper.yaml", "stages/view/answer.css",
         "stages/view/answer.html", "stages/view/answer.js"),
    ),
}  # fmt: skip
UNDER_LOAD = ("throughput", "load")  # stages of the pairs in throughput.run alone


def targets(params: Params) -> Iterator[Target]:
    """Yield what a run makes, in the pipeline's order."""
    for stage, about in STAGES.items():
        if about.per == "run":
            yield Target(stage)
            continue
        for pair in params.throughput.run if stage in UNDER_LOAD else params.run:
            names: Mapping[Unit, list[str]] = {
                "pair": [""],
                "method": list(params.all_methods),
                "set": list(params.pair(pair).problem_sets),
            }
            yield from (Target(stage, pair, name or None) for name in names[about.per])
