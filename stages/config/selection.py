"""What follows from params.yaml for one pair: its methods and their cues, or why it has none."""

from typing import Any

from stages.config.schema import Infer, Params
from stages.methods import AnyMethod
from stages.methods.base import OF_PAIR


def skip_reason(params: Params, pair: str, name: str) -> str | None:
    """Return why a pair goes without a method; None if it has it."""
    settings, method = params.pair(pair), params.method(name)
    for role in method.roles:
        if role not in settings.engines:
            return f"pair '{pair}' has no engine '{role}', known: {', '.join(settings.engines)}"
    if OF_PAIR in method.routers.values() and settings.router is None:
        return f"pair '{pair}' has no router (pairs.{pair}.router)"
    if method.cues == "published" and settings.published is None:
        return f"pair '{pair}' has no published cues"
    if method.probabilities and with_defaults(params, pair, name).hands_over_text:
        return f"pair '{pair}' hands over text, which brings no probabilities"
    if name in params.ablation.methods and line(params, pair, name) == line(
        params, pair, "relaygen"
    ):
        return f"for pair '{pair}' it is relaygen itself"
    return None


def line(params: Params, pair: str, name: str) -> dict[str, Any]:
    """Return all that tells a method of a pair from another: its own settings and its cues."""
    return with_defaults(params, pair, name).model_dump() | {"cues": cues_of(params, pair, name)}


def with_defaults(params: Params, pair: str, name: str) -> AnyMethod:
    """Return a method with what its line leaves open filled in."""
    return filled(params, pair, params.method(name))


def filled(params: Params, pair: str, method: AnyMethod) -> AnyMethod:
    """Return a method with what is left open filled in from the pair and the block `relay`."""
    settings = params.pair(pair)
    as_text = settings.as_released.handoff or params.relay.handoff == "text"
    defaults = {
        "cue_matching": settings.cue_matching,
        "answer_engine": params.relay.answer_engine,
        "min_tokens": params.relay.min_tokens,
        "handoff": "text" if as_text else "tokens",
    }
    fields = type(method).model_fields
    left_open: dict[str, Any] = {
        key: value
        for key, value in defaults.items()
        if key in fields and getattr(method, key) is None
    }
    if OF_PAIR in method.routers.values() and settings.router:
        left_open["router"] = settings.router
    return method.model_copy(update=left_open)


def infer_of(params: Params, pair: str | None) -> Infer:
    """Return how answers are asked for, with the pair's own number in flight if it has one."""
    own = params.pair(pair).concurrency if pair else None
    return params.infer.model_copy(update={"concurrency": own}) if own else params.infer


def cues_of(params: Params, pair: str, name: str) -> str:
    """Return none, mined, published, all, or the path of a file of cues."""
    cues = params.method(name).cues
    return params.pair(pair).cues if cues == "pair" else cues


def methods_of(params: Params, pair: str) -> dict[str, AnyMethod]:
    """Return what is compared for a pair: methods whose engines and cues it has."""
    return _had_by(params, pair, params.methods)


def variants_of(params: Params, pair: str) -> dict[str, AnyMethod]:
    """Return the ablation's variants of a pair, likewise."""
    return _had_by(params, pair, params.ablation.methods)


def _had_by(params: Params, pair: str, methods: dict[str, AnyMethod]) -> dict[str, AnyMethod]:
    """Return those of `methods` that a pair has, with their defaults."""
    return {
        name: with_defaults(params, pair, name)
        for name in methods
        if not skip_reason(params, pair, name)
    }


def benchmarks_of(params: Params, pair: str, method: str) -> list[str]:
    """Return what a method answers: a variant of the ablation one benchmark, the others all."""
    if method in params.ablation.methods:
        return [params.pair(pair).ablation_benchmark]
    return list(params.pair(pair).benchmarks)
