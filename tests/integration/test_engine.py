"""Starting, asking and stopping real servers."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Timer

import httpx
import polars as pl
import psutil
import pytest

from stages.config.schema import Model, Params
from stages.config.selection import with_defaults
from stages.engine import models, server
from stages.engine.client import Client
from stages.engine.replies import margin
from stages.engine.server import Engine
from stages.engine.spec import EngineSpec, specs
from stages.generation import asking
from stages.generation.answering import Answering, Task
from stages.generation.store import Store
from stages.methods.base import Request
from stages.runtime.errors import UserError
from tests import scripted
from tests.conftest import ROOT, TOKENIZER

pytestmark = pytest.mark.integration


def spec(params: Params, model: Path) -> EngineSpec:
    pair = params.pair("demo")
    changed = pair.model_copy(
        update={"engines": {**pair.engines, "small": Model(model=str(model))}}
    )
    return specs(changed, params.engines, ("small",), concurrency=1)[0]


async def test_a_stop_string_ends_the_completion_and_is_named(
    engines: Mapping[str, Engine], params: Params, few_problems: pl.DataFrame
) -> None:
    async with Client(engines["large"], params.pair("demo").sampling, params.infer) as client:
        ids = few_problems["prompt_ids"][0].to_list()
        many = tuple(f"never {i}" for i in range(60))
        completion = await client.complete(
            Request("large", ids, max_tokens=200, stop=(*many, "steps")), seed=1, salt="a"
        )
    assert completion.stop == "steps"
    assert completion.text.endswith("steps")


async def test_the_same_seed_gives_the_same_tokens(
    engines: Mapping[str, Engine], params: Params, few_problems: pl.DataFrame
) -> None:
    async with Client(engines["small"], params.pair("demo").sampling, params.infer) as client:
        request = Request("small", few_problems["prompt_ids"][0].to_list(), max_tokens=100)
        first, again, other = [
            (await client.complete(request, seed=seed, salt=salt)).token_ids
            for seed, salt in ((1, "a"), (1, "b"), (2, "c"))
        ]
    assert first == again
    assert first != other


@pytest.mark.parametrize("end", ["", " So", " So ", ".\n\n"])
async def test_text_handed_over_goes_on_like_the_same_token_ids(
    engines: Mapping[str, Engine], params: Params, few_problems: pl.DataFrame, end: str
) -> None:
    tokenizer = models.tokenizer(params.pair("demo").engines["large"])
    prompt = tokenizer.decode(few_problems["prompt_ids"][0].to_list(), skip_special_tokens=False)
    ids = tokenizer.encode(f"{prompt}<think>\nNow{end}", add_special_tokens=False).ids
    request = Request("small", ids, max_tokens=50)
    async with Client(engines["small"], params.pair("demo").sampling, params.infer) as client:
        by_ids = await client.complete(request, seed=1, salt="ids")
        by_text = await client.complete_text(request, 1, "text", tokenizer)
    assert by_text.text == by_ids.text


async def test_margins_are_those_of_the_servers_own_log_probabilities(
    engines: Mapping[str, Engine], params: Params, few_problems: pl.DataFrame
) -> None:
    ids = few_problems["prompt_ids"][0].to_list()
    async with Client(engines["small"], params.pair("demo").sampling, params.infer) as client:
        found = await client.margins(ids)
        text = TOKENIZER.decode(ids, skip_special_tokens=False)
        chat = [{"role": "user", "content": text}]
        body = {"model": "model", "messages": chat, "max_tokens": 1, "prompt_logprobs": 2}
        reply = await client.http.post("/v1/chat/completions", json=body)
        asked = (await reply.json())["prompt_logprobs"]
    wanted = [None, *map(margin, asked[1:])]
    assert found[0] is None
    assert all(value is not None and 0 <= value <= 1 for value in found[1:])
    assert found == wanted


def routes(log: Path) -> list[tuple[str, str]]:
    """(method, path) of all that a server could serve, as its log lists them."""
    listed = re.findall(r"Route: (/\S*), Methods: ([A-Z, ]+)", log.read_text())
    found = [(method, path) for path, methods in listed for method in methods.split(", ")]
    assert {("POST", "/invocations"), ("POST", "/tokenize"), ("GET", "/health")} <= set(found)
    unlisted = ("/metrics", "/metrics/", "/", "/nothing", "/health/", "//health")
    return sorted({*found, *(("GET", path) for path in unlisted), ("OPTIONS", "/v1/models")})


OPEN = ("GET", "/health")
SERVED = {
    OPEN,
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/inference/v1/generate"),
}


def test_nothing_but_the_health_check_answers_without_the_key(
    engines: Mapping[str, Engine],
) -> None:
    large, small = engines["large"], engines["small"]
    keys = (None, "", "Bearer", f"Bearer {small.key}", large.key, f"Bearer {large.key}x")
    with httpx.Client(base_url=large.url) as client:
        for method, path in routes(large.log_file):
            for key in keys:
                headers = {"Authorization": key} if key is not None else {}
                reply = client.request(method, path, headers=headers)
                wanted = httpx.codes.OK if (method, path) == OPEN else httpx.codes.UNAUTHORIZED
                assert reply.status_code == wanted, (method, path, key)


def test_nothing_but_what_is_needed_is_served_with_the_key(engines: Mapping[str, Engine]) -> None:
    large = engines["large"]
    headers = {"Authorization": f"Bearer {large.key}"}
    with httpx.Client(base_url=large.url, headers=headers) as client:
        answered = {
            route
            for route in routes(large.log_file)
            if client.request(*route, json={}).status_code != httpx.codes.NOT_FOUND
        }
    assert answered == SERVED


def test_a_missing_model_folder_is_one_line(params: Params, tmp_path: Path) -> None:
    wanted = [spec(params, tmp_path / "nothing")]
    with (
        pytest.raises(UserError, match=r"engine 'small': no model in .*nothing"),
        server.running(wanted, params.engines, tmp_path),
    ):
        pass


def test_a_taken_port_is_one_line(params: Params, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = params.engines.model_copy(update={"base_port": port})
        with (
            pytest.raises(UserError, match=f"port {port} .*is taken; change engines.base_port"),
            server.running([spec(params, Path("demo_pair/small"))], settings, tmp_path),
        ):
            pass


def test_an_engine_that_dies_while_starting_is_one_line(params: Params, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree("demo_pair/small", broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    with (
        pytest.raises(UserError, match="engine 'small' died while starting") as caught,
        server.running([spec(params, broken)], params.engines, tmp_path),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "engine-small.log") in str(caught.value)


def core_of(engine: Engine) -> int:
    """The process that computes, behind the server."""
    below = psutil.Process(engine.process.pid).children(recursive=True)
    (core,) = [process.pid for process in below if "EngineCore" in process.name()]
    return core


@pytest.mark.parametrize("victim", ["server", "core"])
def test_an_engine_that_is_told_to_end_ends_the_stage_and_leaves_whole_answers_alone(
    victim: str, params: Params, few_problems: pl.DataFrame, tmp_path: Path
) -> None:
    method = with_defaults(params, "demo", "small")
    asking_ = Answering(1, params.pair("demo").budget, method, (), TOKENIZER)
    prompts = few_problems["prompt_ids"].to_list()
    todo = [Task(prompts[i % 3], i, problem=i % 3) for i in range(1000)]
    wanted = specs(params.pair("demo"), params.engines, ("small",), concurrency=4)
    with (
        server.running(wanted, params.engines, tmp_path) as engines,
        Store(tmp_path / "store") as store,
    ):
        pid = engines["small"].process.pid if victim == "server" else core_of(engines["small"])
        Timer(4.0, os.kill, (pid, signal.SIGTERM)).start()
        begun = time.monotonic()
        asked, sampling = [asking.Asked(asking_, todo, store)], params.pair("demo").sampling
        with pytest.raises(UserError, match=r"'small' serves no more .*; see .*run again to go on"):
            asking.collect(asked, engines, sampling, params.infer, "test")
        assert time.monotonic() - begun < 30
    kept = [store.row(key) for key in store.places]
    assert 0 < len(kept) < len(todo)
    assert all(row["finish_reason"] == "stop" and "\\boxed{" in row["answer_text"] for row in kept)


def test_on_a_cpu_the_engines_process_imports_nothing_again(engines: Mapping[str, Engine]) -> None:
    _, *started = engines["large"].processes
    assert started
    assert not any("spawn_main" in part for one in started for part in one.cmdline())


def test_an_engines_temporary_files_are_its_own_and_gone_with_it(
    params: Params, tmp_path: Path
) -> None:
    wanted = [spec(params, Path("demo_pair/small"))]
    with server.running(wanted, params.engines, tmp_path) as engines:
        folder = Path(psutil.Process(engines["small"].process.pid).environ()["TMPDIR"])
        assert folder.stat().st_mode & 0o777 == 0o700
        assert any(file.is_socket() for file in folder.iterdir())
    assert not folder.exists()


SCRIPT = """
import signal, sys, time
from pathlib import Path
from stages.config.params import load
from stages.engine import server
from stages.engine.spec import specs
from stages.runtime import command_line
def main():
    params = load(Path("params.yaml"))
    wanted = specs(params.pair("demo"), params.engines, ("small",), 1)
    with server.running(wanted, params.engines, Path(sys.argv[1])) as engines:
        print(engines["small"].process.pid, flush=True)
        time.sleep(600)
command_line.run(main)
"""


def group_members(group: int) -> list[int]:
    """Processes of a process group that are not zombies."""
    listing = subprocess.run(
        ["ps", "-eo", "pid,pgid,stat", "--no-headers"], capture_output=True, text=True, check=True
    )
    rows = (line.split() for line in listing.stdout.splitlines())
    return [int(pid) for pid, pgid, stat in rows if int(pgid) == group and stat[0] != "Z"]


@pytest.mark.parametrize(
    ("sign", "real"),
    [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGKILL, True)],
    ids=["SIGTERM", "SIGINT", "SIGKILL"],
)
def test_no_server_outlives_the_process_that_started_it(
    sign: signal.Signals, real: bool, tmp_path: Path
) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=os.environ if real else {**os.environ, **scripted.environment(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout
    group = int(owner.stdout.readline())
    assert group_members(group)
    os.kill(owner.pid, sign)
    owner.wait(timeout=60)
    deadline = time.monotonic() + 60
    while group_members(group) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert group_members(group) == []
