"""The cost of a hand-off outside the model: token ids against text, at several context lengths.

Two engines of the bundled pair continue each other's text by a few tokens at a time. The model's
share of the time is what the engines report as prefill and decoding; the rest of a request's time
is the cost of the hand-off.
"""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from tokenizers import Tokenizer

from stages.analysis import cue_sets
from stages.config.params import load
from stages.config.schema import Model, Pair, Params
from stages.engine import models, server
from stages.engine.client import Client
from stages.engine.server import Engine
from stages.engine.spec import specs
from stages.generation import asking
from stages.methods.base import Completion, Handoff, Request
from stages.perf import bundled
from stages.perf.harness import Measurement, arguments, in_turns, machine, ratios, seconds, write
from stages.runtime import command_line

CONTEXTS = (500, 2000, 8000)
GOALS = {500: "≥ 1.5 ×", 8000: "≥ 3 ×"}  # noqa: RUF001
ROOM = 512  # tokens after the longest context
HANDOFFS = 20  # per turn
SEGMENT = 8  # tokens between two hand-offs
REPEATS = 5
ROLES = ("large", "small")
QUEUE, PREFILL, DECODE = (
    f"vllm:request_{part}_time_seconds_sum" for part in ("queue", "prefill", "decode")
)
WAYS: dict[Handoff, str] = {"text": "text", "tokens": "token ids"}
PARTS = {
    "client": "in the client",
    "server": "in HTTP and the server's front end",
    "waiting": "waiting for the engine",
    "prefill": "the model's prefill, besides",
}


@dataclass(frozen=True)
class Cost:
    """Mean milliseconds of a hand-off. `outside` the model: client, server and waiting."""

    outside: float
    client: float
    server: float
    waiting: float
    prefill: float


class Relaying:
    """Hand-offs between two engines, after the beginning of one long text."""

    def __init__(self, engines: Mapping[str, Engine], params: Params, pair: Pair) -> None:
        self.engines, self.params, self.pair = engines, params, pair
        self.tokenizer: Tokenizer = models.tokenizer(pair.engines["large"])
        self.ids = long_text(params)
        self.cues = (*cue_sets.cue_set("qwen3").cues, pair.family.think_end)
        self.seeds = count()

    async def turn(self, handoff: Handoff, context: int) -> Cost:
        """Measure hand-offs after the first `context` tokens, which are in the engines' caches."""
        ids = self.ids[:context]
        wall_s = client_s = 0.0
        async with asking.connected(self.engines, self.pair.sampling, self.params.infer) as clients:
            for role in ROLES:
                await self._ask(handoff, clients, Request(role, ids, 1))
            before = await model_s(clients)
            for n in range(HANDOFFS):
                request = Request(ROLES[n % 2], ids, SEGMENT, self.cues)
                begun, used = time.perf_counter(), time.process_time()
                completion = await self._ask(handoff, clients, request)
                wall_s += time.perf_counter() - begun
                client_s += time.process_time() - used
                if handoff == "text":  # the released client has the text, and decodes nothing
                    spent = seconds(partial(self.tokenizer.decode, ids))
                    wall_s, client_s = wall_s - spent, client_s - spent
                ids = ids + completion.token_ids
            after = await model_s(clients)
        queue, prefill, decode = (after[name] - before[name] for name in (QUEUE, PREFILL, DECODE))
        outside = wall_s - prefill - decode
        parts = (outside, client_s, outside - client_s - queue, queue, prefill)
        return Cost(*(1000 * part / HANDOFFS for part in parts))

    async def _ask(
        self, handoff: Handoff, clients: Mapping[str, Client], request: Request
    ) -> Completion:
        client, seed = clients[request.engine], next(self.seeds)
        if handoff == "text":
            return await client.complete_text(request, seed, "bench", self.tokenizer)
        return await client.complete(request, seed, "bench")


async def model_s(clients: Mapping[str, Client]) -> dict[str, float]:
    """Return the seconds that all engines together report of their requests so far."""
    names = (QUEUE, PREFILL, DECODE)
    reports = [await client.metrics(*names) for client in clients.values()]
    return {name: sum(report[name] for report in reports) for name in names}


def long_text(params: Params) -> list[int]:
    """Return the tokens of problems one after another, more than the longest context."""
    problems = bundled.problems(params, params.pair(bundled.PAIR).calibration_set)
    ids: list[int] = problems["prompt_ids"].explode().to_list()
    return ids * (1 + max(CONTEXTS) // len(ids))


def longer(pair: Pair, folder: Path) -> Pair:
    """Return the pair with room for the longest context; what it writes does not matter."""
    length = max(CONTEXTS) + ROOM
    engines = {}
    for role in ROLES:
        source, copy = Path(pair.engines[role].model), folder / role
        shutil.copytree(source, copy)
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
        (copy / "config.json").write_text(
            json.dumps({**config, "max_position_embeddings": length}), encoding="utf-8"
        )
        engines[role] = Model(model=str(copy))
    return pair.model_copy(update={"engines": engines, "max_model_len": length})


def measure(params: Params, pair: Pair, logs: Path) -> dict[tuple[Handoff, int], list[Cost]]:
    """Return {(what is handed over, context): its cost in every round}."""
    wanted = specs(pair, params.engines, ROLES, concurrency=1)
    with server.running(wanted, params.engines, logs) as engines:
        relaying = Relaying(engines, params, pair)

        def side(handoff: Handoff, context: int) -> Cost:
            return uvloop.run(relaying.turn(handoff, context))

        sides = {(way, n): partial(side, way, n) for n in CONTEXTS for way in WAYS}
        return in_turns(sides, REPEATS, warm_up=True)


def measurements(costs: Mapping[tuple[Handoff, int], list[Cost]]) -> list[Measurement]:
    """Return all rows of the table."""

    def values(way: Handoff, context: int, part: str = "outside") -> list[float]:
        return [getattr(cost, part) for cost in costs[way, context]]

    rows = []
    for n in CONTEXTS:
        ratio = ratios(values("text", n), values("tokens", n))
        rows += [
            Measurement(f"{said}, {n:,} tokens of context", "ms", values(way, n))
            for way, said in WAYS.items()
        ]
        rows.append(Measurement("text against token ids", "×", ratio, GOALS.get(n, "")))  # noqa: RUF001
        rows += [
            Measurement(
                f"{said}, {n:,} tokens: {what}", "ms", values(way, n, part), detail=n < 8000
            )
            for way, said in WAYS.items()
            for part, what in PARTS.items()
        ]
    first, last = min(CONTEXTS), max(CONTEXTS)
    pairs = zip(values("tokens", last), values("tokens", first), strict=True)
    growth = [1000 * (long - short) / (last - first) for long, short in pairs]
    return [*rows, Measurement("token ids, per 1,000 tokens more", "ms", growth, "≤ 1 ms")]


def main() -> None:
    """Measure, and write the results."""
    args = arguments(__doc__)
    origin = machine()
    params = load(Path("params.yaml"))
    with TemporaryDirectory() as folder:
        pair = longer(params.pair(bundled.PAIR), Path(folder))
        costs = measure(params, pair, command_line.engine_logs(args.log))
    write(args.out, "Hand-off, outside the model", measurements(costs), origin)


if __name__ == "__main__":
    command_line.run(main)
