"""The server against the pipeline's own client and vLLM's own server, by answers in flight.

Both sides of a ratio ask the same engines for the same answers: the likeliest token is taken, and
nothing that an earlier turn left in a prefix cache is found. CPU time is that of the process that
stands before the engines.
"""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import orjson
import psutil
import uvloop
import yaml

from stages.analysis import cue_sets
from stages.config.params import load, read
from stages.config.schema import Params, Sampling
from stages.config.selection import with_defaults
from stages.engine import models, server
from stages.engine.server import Engine
from stages.engine.spec import MODEL_NAME, specs
from stages.generation import asking
from stages.generation.answering import Answering, tasks
from stages.generation.store import Store
from stages.perf import bundled
from stages.perf.bundled import PAIR
from stages.perf.harness import Measurement, arguments, in_turns, machine, ratios, write
from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.serving import KEY
from stages.serving.elsewhere import key_variable

# {answers in flight: answers of one turn}
ANSWERS = {1: 2, 4: 8, 16: 24, 32: 32}
REPEATS = 3
RELAY, LARGE = "relaygen", "large"
ROLES = ("large", "small")
CUES = "qwen3"
CPU_AT = 16  # in flight, where the table has CPU times
SHORT = 160  # tokens of an answer by the large model alone, to take less time
GOAL = "≥ 95 %"
START_WITHIN_S = 120.0
ANSWER_WITHIN_S = 600.0
OWN_KEY = "performance-of-the-server"


@dataclass(frozen=True)
class Load:
    """Some answers in flight at once. `cpu_s`: of the server's process, or the client's own."""

    tokens: int
    seconds: float
    cpu_s: float

    @property
    def tokens_per_s(self) -> float:
        """Return the tokens per second of all answers together."""
        return self.tokens / self.seconds

    @property
    def cpu_ms_per_token(self) -> float:
        """Return the CPU milliseconds per token."""
        return 1000 * self.cpu_s / self.tokens


@dataclass(frozen=True)
class Place:
    """Where chats are sent. `process`: of `relaygen serve`, None for vLLM's own server."""

    url: str
    key: str
    model: str
    process: psutil.Process | None = None


class Asking:
    """The first problems of a benchmark, asked in several ways."""

    def __init__(self, params: Params, engines: Mapping[str, Engine], folder: Path) -> None:
        self.params, self.engines, self.folder = params, engines, folder
        self.pair = params.pair(PAIR)
        self.greedy: Sampling = self.pair.sampling.model_copy(update={"temperature": 0.0})
        self.tokenizer = models.tokenizer(self.pair.engines["large"])
        self.problems = bundled.problems(params, self.pair.speed_benchmark, max(ANSWERS.values()))
        self.seeds = count()

    def by_client(self, in_flight: int) -> Load:
        """Ask for the relay's answers as the pipeline does."""
        seed, method = next(self.seeds), with_defaults(self.params, PAIR, RELAY)
        cues = cue_sets.cue_set(CUES).cues
        answering = Answering(
            seed, self.pair.budget, method, cues, self.tokenizer, self.pair.family.marks
        )
        infer = self.params.infer.model_copy(update={"concurrency": in_flight})
        todo = tasks(self.problems.head(ANSWERS[in_flight]), 1)
        with Store(self.folder / str(seed)) as store:
            begun, used = time.perf_counter(), time.process_time()
            asked = [asking.Asked(answering, todo, store)]
            asking.collect(asked, self.engines, self.greedy, infer, f"{in_flight} in flight")
            took, cpu_s = time.perf_counter() - begun, time.process_time() - used
            rows = [store.row(task.key) for task in todo]
        return Load(sum(len(row["token_ids"]) for row in rows), took, cpu_s)

    def by_chat(self, place: Place, in_flight: int, **more: Any) -> Load:
        """Ask a server for chats; `more`: parameters of each request."""
        seed, used = next(self.seeds), cpu_s(place.process)
        body = {
            "model": place.model,
            "chat_template_kwargs": self.pair.family.template_args,
            "max_tokens": self.pair.budget,
            "seed": seed,
            **self.greedy.given(),
            **more,
        }
        if place.process is None:  # ours has a cache for each seed
            body["cache_salt"] = str(seed)
        prompts = self.problems["prompt"].head(ANSWERS[in_flight]).to_list()
        begun = time.perf_counter()
        tokens = uvloop.run(chats(place, body, prompts, in_flight))
        return Load(tokens, time.perf_counter() - begun, cpu_s(place.process) - used)


def cpu_s(process: psutil.Process | None) -> float:
    """Return the CPU seconds of a process so far."""
    return sum(process.cpu_times()[:2]) if process else 0.0


async def chats(place: Place, body: Mapping[str, Any], prompts: list[str], in_flight: int) -> int:
    """Ask for an answer to each prompt, some at a time; return the tokens that were written."""
    limit = asyncio.Semaphore(in_flight)
    headers = {"Authorization": f"Bearer {place.key}"}
    async with aiohttp.ClientSession(
        place.url, headers=headers, timeout=aiohttp.ClientTimeout(ANSWER_WITHIN_S)
    ) as http:

        async def one(prompt: str) -> int:
            messages = [{"role": "user", "content": prompt}]
            async with (
                limit,
                http.post("/v1/chat/completions", json={**body, "messages": messages}) as reply,
            ):
                return n_tokens(await reply.read())

        return sum(await asyncio.gather(*map(one, prompts)))


def n_tokens(reply: bytes) -> int:
    """Return the tokens that a reply says it took: whole, or the events of a stream."""
    last = [line for line in reply.splitlines() if line.rstrip().endswith(b"}")][-1]
    content = orjson.loads(last.removeprefix(b"data: "))
    if "usage" not in content:
        raise UserError(f"an answer failed: {reply[-200:].decode(errors='replace')}")
    n: int = content["usage"]["completion_tokens"]
    return n


@contextmanager
def serving(engines: Mapping[str, Engine], folder: Path) -> Iterator[Place]:
    """Run `relaygen serve` on engines that run already."""
    params = read(Path("params.yaml"))
    params["infer"]["concurrency"] = max(ANSWERS)
    params["pairs"][PAIR]["cues"] = CUES
    file, said = folder / "params.yaml", folder / "served.txt"
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    urls = [part for role in ROLES for part in (f"--{role}-url", engines[role].url)]
    keys = {key_variable(role): engines[role].key for role in ROLES}
    command = [
        *(sys.executable, "-m", "stages.serving.main", "--pair", PAIR, "--params", str(file)),
        *(
            "--methods",
            f"{RELAY},{LARGE}",
            "--port",
            "0",
            "--log",
            str(folder / "serve.log"),
            *urls,
        ),
    ]
    with said.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            env={**os.environ, **keys, KEY: OWN_KEY},
            preexec_fn=server.die_with_parent,
        )
    try:
        yield Place(address(process, said), OWN_KEY, RELAY, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()


def address(process: "subprocess.Popen[bytes]", said: Path) -> str:
    """Return the address that the server prints once it is ready; UserError if it does not."""
    deadline = time.monotonic() + START_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"http://\S+", said.read_text(encoding="utf-8")):
            return found[0]
        time.sleep(0.1)
    raise UserError(f"`relaygen serve` does not start: {said.read_text(encoding='utf-8').strip()}")


Side = tuple[str, int]
WAYS = {
    "client": "relay, the pipeline's client",
    "whole": "relay through the server, whole answers",
    "streamed": "relay through the server, streamed",
    "vllm": "large model, vLLM's own server, streamed",
    "large": "large model through the server, streamed",
}
COMPARED = {"client": ("whole", "streamed"), "vllm": ("large",)}
STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


def sides(found: Asking, place: Place) -> dict[Side, Callable[[], Load]]:
    """Return {(way, answers in flight): what asks for them}."""
    own = found.engines["large"]
    vllm = Place(own.url, own.key, MODEL_NAME)
    large = Place(place.url, place.key, LARGE, place.process)
    ways: dict[str, Callable[[int], Load]] = {
        "client": found.by_client,
        "whole": partial(found.by_chat, place),
        "streamed": partial(found.by_chat, place, **STREAMED),
        "vllm": partial(found.by_chat, vllm, max_tokens=SHORT, **STREAMED),
        "large": partial(found.by_chat, large, max_tokens=SHORT, **STREAMED),
    }
    return {(way, n): partial(ask, n) for n in ANSWERS for way, ask in ways.items()}


def measurements(loads: Mapping[Side, list[Load]]) -> list[Measurement]:
    """Return all rows of the table."""
    rows = []
    for n in ANSWERS:
        for own, others in COMPARED.items():
            rows += speeds(loads, n, own, others)
    return [*rows, *(row for n in ANSWERS for way in WAYS for row in cpu_times(loads, n, way))]


def speeds(
    loads: Mapping[Side, list[Load]], n: int, own: str, others: Sequence[str]
) -> list[Measurement]:
    """Return the speed without the server, and in percent of it those through the server."""
    base = [load.tokens_per_s for load in loads[own, n]]
    rows = [Measurement(f"{n} in flight: {WAYS[own]}", "tokens/s", base)]
    for way in others:
        speed = [load.tokens_per_s for load in loads[way, n]]
        share = [100 * ratio for ratio in ratios(speed, base)]
        rows.append(Measurement(f"{n} in flight: {WAYS[way]}", "%", share, GOAL))
    return rows


def cpu_times(loads: Mapping[Side, list[Load]], n: int, way: str) -> list[Measurement]:
    """Return the CPU time of what stands before the engines; none of vLLM's own server."""
    times = [load.cpu_ms_per_token for load in loads[way, n]]
    what = f"{n} in flight: {WAYS[way]}"
    return [Measurement(what, "CPU ms/token", times, detail=n != CPU_AT)] if any(times) else []


def main() -> None:
    """Measure, and write the results."""
    args = arguments(__doc__)
    origin = machine()
    params = load(Path("params.yaml"))
    wanted = specs(params.pair(PAIR), params.engines, ROLES, concurrency=max(ANSWERS))
    logs = command_line.engine_logs(args.log)
    with (
        TemporaryDirectory() as folder,
        server.running(wanted, params.engines, logs) as engines,
        serving(engines, Path(folder)) as place,
    ):
        found = Asking(params, engines, Path(folder))
        ways = sides(found, place)
        for way in COMPARED:  # an engine's first answers are slower
            ways[way, CPU_AT]()
        loads = in_turns(ways, REPEATS)
    write(args.out, "Server", measurements(loads), origin)


if __name__ == "__main__":
    command_line.run(main)
