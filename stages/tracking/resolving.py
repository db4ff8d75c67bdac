"""The settings of a stage, worked out of params.yaml for its pair, method or problem set."""

from collections.abc import Callable
from typing import Any, Literal

from stages.analysis.cue_sets import candidates, cue_words
from stages.config import selection
from stages.config.schema import Cues, Pair, Params
from stages.config.settings import Recorded, Settings
from stages.methods.base import Method
from stages.problems.wordings import wordings
from stages.tracking.files import Row
from stages.tracking.targets import STAGES, Target

# Stages that ask one engine and have no method of their own: its line.
ALONE = {
    "traces": {"kind": "single", "engine": "large", "cues": "none"},
    "answer_stage": {"kind": "single", "engine": "small", "cues": "none"},
}


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
    if target.stage == "traces" and pair_of(params, target).recorded:
        return []
    if target.stage in ("latency", "throughput"):
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


def shuffle_of(params: Params, target: Target) -> bool:
    """Return whether a problem set's options are shuffled; only multiple choice has any."""
    pair = pair_of(params, target)
    choice = pair.problem_sets[str(target.name)].scoring == "choice"
    return choice and not pair.as_released.options


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
    which = selection.cues_of(params, pair, name)
    own = params.pair(pair).family.candidates
    if which == "all" and isinstance(own, list):
        return own
    return cue_words(which, params.pair(pair).published)


def candidates_of(params: Params, target: Target) -> list[str] | Literal["auto"]:
    """Return the words that may become cues: the family's, or those that were published."""
    return pair_of(params, target).family.candidates or candidates()


def cues_of(params: Params, target: Target) -> Cues:
    """Return when a candidate becomes a cue of a pair."""
    own = pair_of(params, target).min_segments
    return params.cues.model_copy(update={"min_segments": own} if own else {})


def recorded_of(params: Params, target: Target) -> Recorded | None:
    """Return the traces that a pair has already."""
    pair = pair_of(params, target)
    traces = pair.recorded
    return Recorded(path=traces.path, family=pair.family) if traces else None


Resolver = Callable[[Params, Target], Any]
RUN: dict[str, Resolver] = {
    "run": lambda params, target: params.run,
    "under_load": lambda params, target: params.throughput.run,
    "published": lambda params, target: {name: params.pair(name).published for name in params.run},
}
PAIR: dict[str, Resolver] = {
    "pair": lambda params, target: target.pair,
    "seed": lambda params, target: params.seed,
    "problem_set": lambda params, target: pair_of(params, target).problem_sets[str(target.name)],
    "prompts": lambda params, target: wordings(
        pair_of(params, target),
        pair_of(params, target).problem_sets[str(target.name)],
    ),
    "template_args": lambda params, target: pair_of(params, target).family.template_args,
    "think_start": lambda params, target: pair_of(params, target).family.think_start,
    "think_end": lambda params, target: pair_of(params, target).family.think_end,
    "template_opens": lambda params, target: pair_of(params, target).family.template_opens,
    "shuffle": shuffle_of,
    "tokenizer": lambda params, target: pair_of(params, target).engines["large"],
    "tokenizers": lambda params, target: pair_of(params, target).engines,
    "engines": lambda params, target: {
        role: pair_of(params, target).engines[role]
        for role in roles_of(params, target)
        if role in pair_of(params, target).engines
    },
    "engine_env": lambda params, target: params.engines.env,
    "dtype": lambda params, target: pair_of(params, target).dtype,
    "max_model_len": lambda params, target: pair_of(params, target).max_model_len,
    "sampling": lambda params, target: pair_of(params, target).sampling,
    "budget": lambda params, target: pair_of(params, target).budget,
    "marks": lambda params, target: pair_of(params, target).family.marks,
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
    "recorded": recorded_of,
    "candidates": candidates_of,
    "segment_ends": lambda params, target: pair_of(params, target).family.segment_ends,
    "cues": cues_of,
    "cue_matching": lambda params, target: pair_of(params, target).cue_matching,
    "matching": lambda params, target: line_of(params, target).get("cue_matching"),
    "min_tokens": lambda params, target: line_of(params, target)["min_tokens"],
    "cue_words": words_of,
    "include_prompt": lambda params, target: pair_of(params, target).as_released.margins,
    "latency": lambda params, target: params.latency,
    "throughput": lambda params, target: params.throughput,
    "bootstrap": lambda params, target: params.tables.bootstrap,
    "min_segments": lambda params, target: cues_of(params, target).min_segments,
}
