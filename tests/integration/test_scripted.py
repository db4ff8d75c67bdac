"""The scripted server, which stands in for vLLM elsewhere in the tests, against the real one."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stages.config.schema import Model, Params
from stages.engine import models, server
from stages.engine.client import ACCEPTED, DRAFTS
from stages.engine.server import Engine
from stages.engine.spec import specs
from stages.runtime.errors import UserError
from tests import scripted
from tests.conftest import ROOT

pytestmark = pytest.mark.integration

SAMPLING: dict[str, Any] = {
    "max_tokens": 20,
    "stop": ["steps"],
    "include_stop_str_in_output": True,
    "skip_special_tokens": False,
    "seed": 1,
    "temperature": 0.6,
    "top_p": 0.95,
    "top_k": 20,
}
MARGINS = {"max_tokens": 1, "prompt_logprobs": 2}
# What is asked for, as it differs from the first.
BY_TOKENS: dict[str, dict[str, Any]] = {
    "stop string": {},
    "stop string left out": {"sampling_params": SAMPLING | {"include_stop_str_in_output": False}},
    "limit of tokens": {"sampling_params": SAMPLING | {"max_tokens": 5}},
    "end of turn": {"sampling_params": SAMPLING | {"max_tokens": 1000, "stop": []}},
    "token ids alone": {"output_mode": "tokens"},
    "margins": {"output_mode": "tokens", "sampling_params": MARGINS | {"detokenize": False}},
    "margins with text": {"sampling_params": MARGINS},
    "probabilities": {"sampling_params": SAMPLING | {"logprobs": 3}},
    "no tokens": {"sampling_params": SAMPLING | {"max_tokens": 0}},
    "empty prompt": {"token_ids": []},
    "prompt that is too long": {"token_ids": 3000 * [5]},
    "token that is none": {"token_ids": [10**6]},
    "another model": {"model": "another"},
}


@pytest.fixture(scope="module")
def stand_ins(
    params: Params, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Engine]]:
    """Scripted servers of the large model, and of the same with its draft head."""
    wanted = specs(params.pair("demo"), params.engines, ("large", "eagle3"), concurrency=4)
    with ExitStack() as stack:
        with started_scripted():
            serving = server.running(wanted, params.engines, tmp_path_factory.mktemp("logs"))
            running = stack.enter_context(serving)
        yield running


@contextmanager
def started_scripted() -> Iterator[None]:
    """Servers that are started meanwhile are scripted ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in scripted.environment(ROOT).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def prompt(few_problems: pl.DataFrame) -> list[int]:
    """A problem's prompt."""
    ids: list[int] = few_problems["prompt_ids"][0].to_list()
    return ids


def shape(value: Any) -> Any:
    """Keys and types; lists, and dicts by token, have the kinds of their members."""
    if isinstance(value, list) or (isinstance(value, dict) and all(map(str.isdigit, value))):
        members = value if isinstance(value, list) else value.values()
        return [type(value).__name__, *sorted({repr(shape(member)) for member in members})]
    if isinstance(value, dict):
        return {key: shape(value[key]) for key in sorted(value)}
    return type(value).__name__


def post(engine: Engine, path: str, body: dict[str, Any]) -> httpx.Response:
    """A server's reply."""
    headers = {"Authorization": f"Bearer {engine.key}"}
    return httpx.post(engine.url + path, json=body, headers=headers, timeout=60)


def outcome(reply: httpx.Response) -> Any:
    """All of a reply that does not depend on what is written."""
    content = reply.json()
    ends = [
        (choice["finish_reason"], choice["stop_reason"]) for choice in content.get("choices", [])
    ]
    return reply.status_code, reply.headers["content-type"], ends, shape(content)


@pytest.mark.parametrize("request_", BY_TOKENS)
def test_replies_to_token_ids_are_like_the_real_servers(
    request_: str,
    engines: Mapping[str, Engine],
    stand_ins: Mapping[str, Engine],
    prompt: list[int],
) -> None:
    body = {
        "model": "model",
        "token_ids": prompt,
        "output_mode": "text",
        "cache_salt": "a",
        "sampling_params": SAMPLING,
        **BY_TOKENS[request_],
    }
    real, scripted_ = (
        outcome(post(served["large"], "/inference/v1/generate", body))
        for served in (engines, stand_ins)
    )
    assert scripted_ == real


def test_replies_to_chats_are_like_the_real_servers(
    engines: Mapping[str, Engine], stand_ins: Mapping[str, Engine], params: Params,
    prompt: list[int],
) -> None:  # fmt: skip
    text = models.tokenizer(params.pair("demo").engines["large"]).decode(
        prompt, skip_special_tokens=False
    )
    body = {
        "model": "model",
        "messages": [{"role": "assistant", "content": text}],
        "add_generation_prompt": False,
        "continue_final_message": True,
        "cache_salt": "a",
        **SAMPLING,
    }
    real, scripted_ = (
        outcome(post(served["large"], "/v1/chat/completions", body))
        for served in (engines, stand_ins)
    )
    assert scripted_ == real


@pytest.mark.parametrize("key", [None, "another"])
@pytest.mark.parametrize("path", ["/v1/models", "/nothing"])
def test_other_paths_are_like_the_real_servers(
    path: str,
    key: str | None,
    engines: Mapping[str, Engine],
    stand_ins: Mapping[str, Engine],
) -> None:
    real, scripted_ = (
        outcome(get(served["large"], path, key or served["large"].key))
        for served in (engines, stand_ins)
    )
    assert scripted_ == real


def get(engine: Engine, path: str, key: str) -> httpx.Response:
    """A server's reply to a request with a key."""
    return httpx.get(engine.url + path, headers={"Authorization": f"Bearer {key}"})


@pytest.mark.parametrize("role", ["large", "eagle3"])
def test_counts_have_the_real_servers_names(
    role: str,
    engines: Mapping[str, Engine],
    drafted: Mapping[str, Engine],
    stand_ins: Mapping[str, Engine],
) -> None:
    real = counts({**engines, **drafted}[role])
    scripted_ = counts(stand_ins[role])
    assert scripted_ <= real
    drafts = {name for name, _ in scripted_ if "spec_decode" in name}
    assert drafts == ({DRAFTS, ACCEPTED} if role == "eagle3" else set())
    assert drafts <= {name for name, _ in real}


def counts(engine: Engine) -> set[tuple[str, str]]:
    """The names and labels of what a server counts, with what Prometheus adds left out."""
    families = text_string_to_metric_families(get(engine, "/metrics", engine.key).text)
    samples = [sample for family in families for sample in family.samples]
    return {
        (sample.name, repr(sorted(sample.labels.items())))
        for sample in samples
        if sample.name.endswith("_total")
    }


def test_a_server_without_its_weights_dies(params: Params, tmp_path: Path) -> None:
    broken = shutil.copytree("demo_pair/small", tmp_path / "small")
    (broken / "model.safetensors").write_bytes(b"")
    pair = params.pair("demo")
    changed = pair.model_copy(update={"engines": {"small": Model(model=str(broken))}})
    wanted = specs(changed, params.engines, ("small",), concurrency=1)
    with (
        started_scripted(),
        pytest.raises(UserError, match="engine 'small' died while starting"),
        server.running(wanted, params.engines, tmp_path),
    ):
        pass
