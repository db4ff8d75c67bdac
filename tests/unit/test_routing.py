"""Routing inside an engine, with a stand-in for vLLM's runner: which tokens give way to marks."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stages.engine.router import Router
from stages.engine.router_file import Sizes
from stages.engine.routing import entropy, install, leaving_tokens

pytestmark = pytest.mark.unit
MARK = 0
SURE, UNSURE = [0.0, 0.0, 20.0, 0.0], [0.0, 5.0, 5.1, 0.0]  # both write token 2
Json = dict[str, Any]


def route(threshold: float | None = None, router: str = "entropy") -> Json:
    return {"router": router, "threshold": threshold, "mark": MARK}


def router_of(probability: float) -> Router:
    """A router that says the same of every token."""
    made = Router(Sizes(hidden=3, logits=2, dims=(4,), expansion=1), threshold=0.5)
    made.requires_grad_(False)
    last = made.backbone.output_layer[1]
    assert isinstance(last, nn.Linear)
    last.weight.zero_()
    last.bias.copy_(torch.tensor([probability]).logit())
    return made.eval()


def sampled(rows: list[list[float]], routes: list[Json | None], **routers: Router) -> list[int]:
    """The tokens of a step that samples the likeliest ones."""
    asked = {
        str(i): SimpleNamespace(
            sampling_params=SimpleNamespace(extra_args={"route": one} if one else None)
        )
        for i, one in enumerate(routes)
    }
    model = SimpleNamespace(embed_input_ids=lambda ids: torch.zeros(len(ids), 3))
    runner = SimpleNamespace(
        input_batch=SimpleNamespace(req_ids=list(asked)),
        requests=asked,
        device="cpu",
        routers=routers,
        sampled_from=torch.zeros(len(rows), 3),
        get_model=lambda: model,
    )

    def sample(_: object, logits: Tensor, __: object) -> SimpleNamespace:
        ids = logits.argmax(-1, keepdim=True).to(torch.int32)
        logits.zero_()  # vLLM's sampler changes them
        return SimpleNamespace(sampled_token_ids=ids)

    output = leaving_tokens(sample)(runner, torch.tensor(rows), None)
    return list(output.sampled_token_ids[:, 0].tolist())


def test_tokens_that_the_small_model_is_unsure_of_give_way_to_the_mark() -> None:
    assert sampled([SURE, UNSURE], [route(), route()]) == [2, MARK]


def test_requests_that_do_not_ask_for_it_go_on() -> None:
    assert sampled([UNSURE, UNSURE], [None, route()]) == [2, MARK]


def test_a_request_has_its_own_threshold() -> None:
    assert sampled([UNSURE, UNSURE], [route(0.1), route(2.0)]) == [MARK, 2]


def test_the_mark_itself_is_never_sampled() -> None:
    assert sampled([[9.0, 0.0, 1.0, 0.0]], [route(5.0)]) == [2]
    assert sampled([[9.0, 0.0, 1.0, 0.0]], [None]) == [MARK]


def test_requests_of_one_step_may_have_different_routers() -> None:
    routers = {"high": router_of(0.9), "low": router_of(0.1)}
    asked = [route(router="high"), route(router="low"), route(), None]
    assert sampled([SURE] * 4, [*asked], **routers) == [MARK, 2, 2, 2]


def test_a_routers_threshold_can_be_replaced() -> None:
    asked = [route(0.95, "high"), route(0.9 - 1e-3, "high")]
    assert sampled([SURE] * 2, [*asked], high=router_of(0.9)) == [2, MARK]


def test_entropy_is_in_nats_and_over_the_whole_vocabulary() -> None:
    assert float(entropy(torch.zeros(1, 8))) == pytest.approx(torch.tensor(8.0).log().item())


def test_an_engine_that_was_not_asked_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELAYGEN_ROUTERS", raising=False)
    monkeypatch.setitem(sys.modules, "vllm", None)  # an import of it would fail
    install()
