"""Serve a pair's methods as the models of an OpenAI-style API.

Engines are started and kept up. The key is RELAYGEN_API_KEY, or the content of `--key-file`, or
made anew and printed.
"""

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from aiohttp import web

from stages.analysis.cue_sets import words_in
from stages.config import selection
from stages.config.params import load
from stages.config.schema import Params
from stages.config.settings import Settings
from stages.engine import server
from stages.engine.gpus import turns
from stages.engine.spec import EngineSpec, specs
from stages.generation import asking
from stages.problems.prompts import chat_tokenizer
from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.serving import KEY
from stages.serving.app import application
from stages.serving.elsewhere import Elsewhere, Found, Needs, key_variable
from stages.serving.metrics import Metrics
from stages.serving.service import Room, Served, Service
from stages.serving.supervisor import Kept, Supervised, start_all, stop_all
from stages.tracking.resolving import settings_of
from stages.tracking.targets import Target

SHORTEST_KEY = 16
LOGS = Path("logs/serve")
LAST_ANSWERS_S = 5.0  # that a server which is stopped waits for


def key_of(file: Path | None) -> tuple[str, bool]:
    """Return the key, and whether it was made anew; UserError if a given one is too short."""
    where = str(file) if file else KEY
    try:
        key = (file.read_text(encoding="utf-8") if file else os.environ.get(KEY, "")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as a key: {error}") from error
    if not key and not file:
        return secrets.token_urlsafe(24), True
    if len(key) < SHORTEST_KEY:
        raise UserError(f"{where}: a key of {SHORTEST_KEY} characters or more is needed")
    return key, False


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone; UserError if it is no address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError as error:
        raise UserError(f"--host {host}: not an address such as 127.0.0.1 or 0.0.0.0") from error


def methods_of(params: Params, pair: str, names: str | None) -> list[str]:
    """Return the methods to serve; by default those that need the two models alone."""
    possible = selection.methods_of(params, pair)
    if names is None:
        two = {"large", "small"}
        return [n for n, one in possible.items() if set(one.roles) <= two and not one.routers]
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        params.method(name)
        if reason := selection.skip_reason(params, pair, name):
            raise UserError(f"--methods {name}: {reason}")
    return chosen


def served(params: Params, pair: str, name: str) -> tuple[Served, Settings]:
    """Return a method as clients see it, and its settings."""
    settings = settings_of(params, Target("infer", pair, name))
    cues = settings_of(params, Target("cue_set", pair, name)).cue_words
    if cues is None:
        cues = mined(pair, name)
    answering = asking.answering(settings, settings.method, cues)
    family = params.pair(pair).family
    return Served(name, answering, settings.sampling, settings.max_model_len, family), settings


def mined(pair: str, name: str) -> list[str]:
    """Return the mined cues of a method; UserError if they are not there yet."""
    file = Path(f"results/{pair}/cue_sets/{name}.yaml")
    if not file.exists():
        raise UserError(
            f"{file}: the pair's cues are not mined yet; make them "
            f"(snakemake --cores all -- cue_sets_of_{pair}) or set cues: published"
        )
    return words_in(file)


def elsewhere(args: argparse.Namespace, settings: list[Settings]) -> list[Elsewhere]:
    """Return the engines that run already; UserError if no method needs one of them."""
    found = []
    for role, url in (("large", args.large_url), ("small", args.small_url)):
        if url is None:
            continue
        if urlsplit(url).scheme not in ("http", "https"):
            raise UserError(f"--{role}-url {url}: not an address such as http://127.0.0.1:8001")
        if not any(role in one.method.roles for one in settings):
            raise UserError(f"--{role}-url: no method that is served needs '{role}'")
        if any(one.method.routers or one.method.probabilities for one in settings):
            raise UserError(
                f"--{role}-url: a method that routes tokens or goes by probabilities takes engines "
                "that this command starts: leave such methods out of --methods"
            )
        base = url.rstrip("/").removesuffix("/v1")
        found.append(Elsewhere(role, base, os.environ.get(key_variable(role), "")))
    return found


def needs(methods: list[Served]) -> Needs:
    """Return what methods ask of an engine."""
    asked = [one.answering for one in methods]
    lists = [words for one in asked for words in (one.cues, one.marks.sentence_ends)]
    length = max(one.max_model_len for one in methods)
    return Needs(asked[0].tokenizer, length, max(map(len, lists)) + 1)  # and the reasoning's end


def wanted_engines(params: Params, settings: list[Settings]) -> list[EngineSpec]:
    """Return the engines that some methods need, each once."""
    routers = [router for one in settings for router in one.method.routers.items()]
    wanted = {
        spec.role: spec
        for one in settings
        for spec in specs(
            one, params.engines, one.method.roles, params.infer.concurrency, routers=routers
        )
    }
    return list(wanted.values())


async def serve(
    service: Service, key: str, host: str, port: int, ready: Callable[[int], str]
) -> None:
    """Serve until SIGINT or SIGTERM, with the engines up; print `ready` of the port."""
    engines = list(service.engines.values())
    await start_all([one for one in engines if isinstance(one, Found)])
    for turn in turns([one.spec for one in engines if isinstance(one, Supervised)]):
        await start_all([service.engines[spec.role] for spec in turn])
    keepers = [asyncio.create_task(one.keep()) for one in engines]
    runner = web.AppRunner(
        application(service, key),
        handler_cancellation=True,  # a client that leaves ends its answer
        access_log=None,
        shutdown_timeout=LAST_ANSWERS_S,
    )
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise UserError(
                f"port {port} on {host}: {error.strerror}; give another --port"
            ) from error
        print(ready(runner.addresses[0][1]), flush=True)
        await ended()
    finally:
        await runner.cleanup()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        await stop_all(engines)


async def ended() -> None:
    """Wait for SIGINT or SIGTERM."""
    asked = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, asked.set)
    await asked.wait()


def greeting(host: str, port: int, key: str, is_new: bool, names: Mapping[str, Served]) -> str:
    """Return what is printed once the server answers."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    url = f"http://{shown}:{port}"
    lines = [f"serving {', '.join(names)} on {url}"]
    if is_new:
        lines += [
            f"key: {key}",
            f"page: {url}/?key={key}",
            f"curl {url}/v1/chat/completions -H 'Authorization: Bearer {key}' \\",
            "  -H 'Content-Type: application/json' \\",
            f"""  -d '{{"model": "{shown_first(names)}", "messages": [{{"role": "user", """
            """"content": "What is 12 + 30?"}]}'""",
        ]
    else:
        lines.append(f"page: {url}/?key=KEY, with the key that you gave")
    return "\n".join(lines)


def shown_first(methods: Mapping[str, Served]) -> str:
    """Return the method for an example: the first that both models write."""
    both = [name for name, one in methods.items() if len(one.answering.method.roles) > 1]
    return (both or list(methods))[0]


def arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--methods", help="names under `methods:`, with commas between")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0: any free one")
    parser.add_argument("--key-file", type=Path, help="a file with the key")
    parser.add_argument("--large-url", help="a vLLM server of the large model that runs already")
    parser.add_argument("--small-url", help="a vLLM server of the small model that runs already")
    parser.add_argument("--max-waiting", type=int, default=64, help="answers that may wait")
    return parser.parse_args()


def main() -> None:
    """Serve until Ctrl-C."""
    args = arguments()
    command_line.start_log(args.log or LOGS / "serve.log")
    params = load(args.params)
    params = params.model_copy(update={"infer": selection.infer_of(params, args.pair)})
    key, is_new = key_of(args.key_file)
    if is_new and not is_loopback(args.host):
        raise UserError(f"--host {args.host}: others can reach it: give a key of your own ({KEY})")
    names = methods_of(params, args.pair, args.methods)
    found = [served(params, args.pair, name) for name in names]
    there = elsewhere(args, [settings for _, settings in found])
    LOGS.mkdir(parents=True, exist_ok=True)
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    roles_there = {one.role for one in there}
    wanted = [
        spec
        for spec in wanted_engines(params, [settings for _, settings in found])
        if spec.role not in roles_there
    ]
    with server.prepared(wanted) as placed:
        if placed:
            roles = ", ".join(one.role for one in placed)
            print(f"starting {roles}; logs in {LOGS}", file=sys.stderr)
        uvloop.run(begin(params, args, [one for one, _ in found], placed, there, key, is_new))


async def begin(
    params: Params,
    args: argparse.Namespace,
    methods: list[Served],
    placed: list[EngineSpec],
    there: list[Elsewhere],
    key: str,
    is_new: bool,
) -> None:
    """Serve methods on engines that have their GPUs, and on those that run already."""
    metrics = Metrics()
    ports = server.ports_of(placed, params.engines)
    engines: dict[str, Kept] = {
        spec.role: Supervised(spec, ports[spec.role], params.engines, params.infer, LOGS, metrics)
        for spec in placed
    }
    for one in there:
        engines[one.role] = Found(one, needs(methods), params.infer, metrics)
    table = {one.name: one for one in methods}
    tokenizer = chat_tokenizer(params.pair(args.pair).engines["large"])
    room = Room(params.infer.concurrency, args.max_waiting, metrics)
    service = Service(table, tokenizer, engines, room, metrics)

    def ready(port: int) -> str:
        return greeting(args.host, port, key, is_new, table)

    await serve(service, key, args.host, args.port, ready)


if __name__ == "__main__":
    command_line.run(main)
