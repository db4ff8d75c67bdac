"""The server on engines that run already: one with the call for token ids, and one without."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import polars as pl
import pytest

from stages.config.schema import Params
from stages.engine.client import Client
from stages.engine.server import Engine, reserved
from stages.engine.spec import specs
from stages.generation.answering import Task
from stages.serving.elsewhere import CompletionsClient, Elsewhere, Found, IdsClient, Needs
from stages.serving.metrics import Metrics
from stages.serving.service import Room, Service
from stages.serving.visible import Piece
from tests.conftest import TOKENIZER
from tests.integration.test_serving import served, wanted

pytestmark = pytest.mark.integration

KEY = "of-somebody-else"


@pytest.fixture(scope="module")
def plain(params: Params, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the small model as somebody else starts one."""
    (spec,) = specs(params.pair("demo"), params.engines, ("small",), concurrency=4)
    ours = {"--enable-scale-out", "--enable-prompt-tokens-details", "--middleware"}
    flags = [one for one in spec.flags if one not in ours and one != "stages.engine.gate.Gate"]
    log = tmp_path_factory.mktemp("plain") / "log"
    with reserved(None) as port, log.open("wb") as output:
        command = [*("-m", "stages.engine.serve"), *flags, "--port", str(port), "--api-key", KEY]
        process = subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | spec.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"{url} did not answer: {log.read_text()[-2000:]}")


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_is_the_pipelines(
    params: Params,
    engines: Mapping[str, Engine],
    plain: str,
    few_problems: pl.DataFrame,
    streamed: bool,
) -> None:
    one = served(params, "relaygen")
    prompt = few_problems["prompt_ids"][0].to_list()
    needs = Needs(TOKENIZER, one.max_model_len, 20)
    metrics = Metrics()
    large = Elsewhere("large", engines["large"].url, engines["large"].key)
    small = Elsewhere("small", plain, KEY)
    kept = {it.role: Found(it, needs, params.infer, metrics) for it in (large, small)}

    async def both() -> tuple[str, str]:
        async with AsyncExitStack() as stack:
            clients = {
                role: await stack.enter_async_context(
                    Client(engine, params.pair("demo").sampling, params.infer)
                )
                for role, engine in engines.items()
            }
            row = await one.answering.answer(Task(prompt, 0), clients)
            for engine in kept.values():
                await engine.start()
                stack.push_async_callback(engine.stop)
            service = Service({"relaygen": one}, None, kept, Room(4, 4, metrics), metrics)
            items = [item async for _, item in service.pieces([wanted(one, prompt, streamed)])]
        ids = row["token_ids"][:-1] if row["finish_reason"] == "stop" else row["token_ids"]
        text = "".join(item.text for item in items if isinstance(item, Piece))
        return text, TOKENIZER.decode(ids, skip_special_tokens=False)

    text, pipelines = asyncio.run(both())
    assert [kept[role].streaming for role in ("large", "small")] == [IdsClient, CompletionsClient]
    assert text == pipelines
