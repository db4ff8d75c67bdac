"""Leave tokens to another model (R2R): a general plugin of vLLM, in engines that are asked to.

A request with the extra argument `route` ends at the first token that its router leaves to the
other model: in place of this token stands the request's mark, at which vLLM stops. Other requests
go on as ever. The router reads what stands beside the sampler in vLLM: the hidden states that go
into `compute_logits`, the logits that come out, and the token. It runs for all requests of a step
at once, behind the CUDA graph of the model's layers.

vLLM finds `install` by stages/engine/plugin/, which stages.engine.server puts on the path of those
engines that have routers.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.engine import router_file
from stages.engine.router import Router, load
from stages.engine.spec import ROUTERS, ROUTES
from stages.methods.base import ENTROPY

ENTROPY_THRESHOLD = 0.45  # in nats; the default of its authors' EntropySwitching
Runner = Any  # vllm.v1.worker.gpu_model_runner.GPUModelRunner
log = logging.getLogger("vllm.relaygen")  # vLLM prints what is logged under its name


def install() -> None:
    """Have the engine of this process route tokens, if it is asked to by the variable ROUTERS."""
    names = json.loads(os.environ.get(ROUTERS, "[]"))
    if not names:
        return
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    runners: Any = GPUModelRunner  # CPUs' runner is one as well
    runners.__init__ = with_routers(runners.__init__, names)
    runners.sample_tokens = keeping_states(runners.sample_tokens)
    runners._sample = leaving_tokens(runners._sample)


def with_routers(init: Callable[..., None], names: list[str]) -> Callable[..., None]:
    """Return a runner's `__init__` that loads the routers as well."""

    @wraps(init)
    def loading(self: Runner, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        files = [name for name in names if name != ENTROPY]
        model = self.model_config
        sizes = {"hidden_size": model.get_hidden_size(), "vocab_size": model.get_vocab_size()}
        for name in files:
            router_file.check(Path(name), sizes)
        self.routers = {name: load(Path(name)).to(self.device) for name in files}
        log.info("%s %s", ROUTES, ", ".join(names))

    return loading


def keeping_states(sample_tokens: Callable[..., Any]) -> Callable[..., Any]:
    """Return `sample_tokens` that keeps the hidden states which the logits were made from."""

    @wraps(sample_tokens)
    def keeping(self: Runner, *args: Any, **named: Any) -> Any:
        state = self.execute_model_state
        self.sampled_from = state and state.sample_hidden_states
        return sample_tokens(self, *args, **named)

    return keeping


def leaving_tokens(sample: Callable[..., Any]) -> Callable[..., Any]:
    """Return `_sample` that puts marks in place of the tokens that are left to the other model."""

    @wraps(sample)
    def leaving(self: Runner, logits: Tensor, spec_decode_metadata: Any) -> Any:
        asked = list(groups(self))
        # Before it samples: vLLM's sampler changes logits in place.
        read = [reading(group, self, logits) for group in asked]
        for group in asked:
            logits[group.rows, group.marks] = -torch.inf
        output = sample(self, logits, spec_decode_metadata)
        for group, made in zip(asked, read, strict=True):
            ids = output.sampled_token_ids[group.rows, 0]
            left = made(ids) >= group.thresholds
            output.sampled_token_ids[group.rows, 0] = torch.where(left, group.marks.to(ids), ids)
        return output

    return leaving


@dataclass(frozen=True)
class Group:
    """The requests of a step with one router: their rows in the batch, thresholds and marks."""

    router: str
    rows: Tensor
    thresholds: Tensor
    marks: Tensor


def groups(runner: Runner) -> Iterator[Group]:
    """Yield the requests of a step that are routed, by router."""
    by_router: dict[str, list[tuple[int, float, int]]] = {}
    for row, request in enumerate(runner.input_batch.req_ids):
        params = runner.requests[request].sampling_params
        if route := (params.extra_args or {}).get("route"):
            asked = (row, threshold_of(route, runner.routers), route["mark"])
            by_router.setdefault(route["router"], []).append(asked)
    for router, asked_all in by_router.items():
        rows, thresholds, marks = zip(*asked_all, strict=True)
        yield Group(
            router,
            torch.tensor(rows, device=runner.device),
            torch.tensor(thresholds, device=runner.device),
            torch.tensor(marks, device=runner.device),
        )


def threshold_of(route: dict[str, Any], routers: dict[str, Router]) -> float:
    """Return from which value on a request leaves a token: its own, or its router's."""
    if route["threshold"] is not None:
        return float(route["threshold"])
    return ENTROPY_THRESHOLD if route["router"] == ENTROPY else routers[route["router"]].threshold


def reading(group: Group, runner: Runner, logits: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what makes values of the sampled tokens [n], with the logits as they are now."""
    own = logits[group.rows].float()
    if group.router == ENTROPY:
        values = entropy(own)
        return lambda ids: values
    router: Router = runner.routers[group.router]
    states = runner.sampled_from[group.rows]
    highest = own.topk(router.sizes.logits).values
    embed = runner.get_model().embed_input_ids
    return lambda ids: router.probability(states, embed(ids), highest)


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy [n] in nats of the distributions by logits [n, vocabulary]."""
    log_probabilities = logits.log_softmax(dim=-1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
