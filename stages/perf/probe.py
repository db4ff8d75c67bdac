"""A pair's speeds, measured in a minute or two before anything costly, and what they mean.

Each engine writes a few answers alone, and some at once; then both models write in turns, as they
would in a relay. It is the measurement of the latency stage (paper Table 3) on short answers.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import polars as pl
import psutil
import uvloop

from stages.analysis.probed import Probe, path_of
from stages.analysis.speedup import acceptance_length, bound, cached_percent, per_token
from stages.config.contenders import repeats
from stages.config.schema import File, Params, Sampling
from stages.engine import models, server
from stages.engine.client import RequestFailedError
from stages.engine.spec import specs
from stages.generation import asking, latency
from stages.generation.answering import Answering, tasks
from stages.generation.latency import Clients
from stages.generation.store import Store
from stages.methods import base, single
from stages.methods.base import Completion, Request, Segment, Setting, model_of
from stages.perf import bundled
from stages.perf.harness import machine
from stages.planning.done import RESULTS
from stages.planning.measured import shapes
from stages.problems.pair_fit import Finding
from stages.runtime.errors import UserError
from stages.tracking.files import Row, write_text

LOGS = Path("logs")
ANSWER = 256  # tokens
TURN = 16  # tokens of an exchange between two hand-offs
N_PROBLEMS = 4  # the first ones of the speed benchmark
IN_FLIGHT = 16
EXCHANGE = "exchange"
SENTENCE = 25  # tokens: about what the small model writes between two hand-offs
ROLES = ("large", "small")


class Unending(Sampling):
    """How tokens are drawn: on and on, for a short answer would be the reading of its prompt."""

    ignore_eos: bool = True


class Exchange(base.Method):
    """Both models write in turns of TURN tokens."""

    kind: Literal["exchange"] = "exchange"
    cues: Literal["none"] = "none"

    @property
    def roles(self) -> tuple[str, ...]:
        return ROLES

    def start(self, setting: Setting) -> "InTurns":
        return InTurns(setting)


class InTurns(base.Machine):
    """The tokens so far."""

    def next_request(self) -> Request | None:
        n, most = len(self.answer.segments), max(2, self.setting.budget // TURN)
        if n == most:
            self.answer.finish_reason = "length"
            return None
        ids = self.setting.prompt_ids + self.answer.token_ids
        return Request(ROLES[n % 2], ids, TURN)

    def feed(self, completion: Completion, wall_s: float) -> None:
        super().feed(completion, wall_s)
        ids, role = completion.token_ids, model_of(ROLES[len(self.answer.segments) % 2])
        self.answer.token_ids = self.answer.token_ids + ids
        self.answer.segments.append(Segment(role, "reasoning", len(ids), None, wall_s))


@dataclass(frozen=True)
class Probing:
    """A pair to measure. `problems`: with prompts."""

    params: Params
    name: str
    problems: pl.DataFrame

    @property
    def methods(self) -> dict[str, base.Method]:
        """Return each engine alone, and the exchange."""
        roles = self.params.pair(self.name).engines
        alone = {role: single.Method(kind="single", cues="none", engine=role) for role in roles}
        return {**alone, EXCHANGE: Exchange()}

    def answering(self, method: base.Method) -> Answering:
        """Return a method with what shapes its answers."""
        pair = self.params.pair(self.name)
        tokenizer, budget = models.tokenizer(pair.engines["large"]), min(ANSWER, pair.budget)
        return Answering(self.params.seed, budget, method, (), tokenizer, pair.family.marks)

    async def one_by_one(self, clients: Clients) -> pl.DataFrame:
        """Return the answers of all methods in turn, as latency.parquet has them."""
        turns = latency.order(self.methods, self.problems, runs=1)
        answering = {name: self.answering(method) for name, method in self.methods.items()}
        with TemporaryDirectory() as folder, Store(Path(folder)) as store:
            await latency.measure(answering, turns, store, clients)
            return pl.DataFrame(latency.rows(turns, store), schema=latency.SCHEMA)

    async def at_once(self, role: str, clients: Clients) -> float:
        """Return the tokens per second of an engine with IN_FLIGHT answers in flight."""
        asked = self.answering(self.methods[role])
        # Another seed than one by one, whose prompts are in the prefix cache.
        asked = replace(asked, seed=asked.seed + 1)
        todo = tasks(self.problems, repeats(IN_FLIGHT, len(self.problems)))[:IN_FLIGHT]
        begun = time.monotonic()
        try:
            rows = await asyncio.gather(*(asked.answer(task, clients) for task in todo))
        except RequestFailedError as error:
            raise UserError(f"{IN_FLIGHT} answers in flight: {error}") from error
        return sum(len(row["token_ids"]) for row in rows) / (time.monotonic() - begun)


def measure(params: Params, name: str, logs: Path) -> Probe:
    """Start the engines of a pair and measure them; UserError if one does not serve."""
    origin, pair, problems = machine(), params.pair(name), first_problems(params, name)
    wanted = specs(pair, params.engines, tuple(pair.engines), concurrency=IN_FLIGHT)
    with server.running(wanted, params.engines, logs) as engines:
        return uvloop.run(measured(Probing(params, name, problems), engines, origin))


def first_problems(params: Params, name: str) -> pl.DataFrame:
    """Return a few problems of the speed benchmark; UserError if none of it can be had."""
    benchmark = params.pair(name).speed_benchmark
    given = isinstance(params.pair(name).benchmarks[benchmark], File)  # it may have fewer
    problems = bundled.problems(params, benchmark, None if given else N_PROBLEMS, name)
    if problems.is_empty():
        raise UserError(
            f"pairs.{name}.speed_benchmark: no problem of {benchmark} can be had; name another one"
        )
    return problems.head(N_PROBLEMS)


async def measured(probing: Probing, engines: asking.Engines, origin: Row) -> Probe:
    """Return the values of running engines, one for each role of the pair."""
    params, name = probing.params, probing.name
    sampling = Unending.model_validate(params.pair(name).sampling.model_dump())
    async with asking.connected(engines, sampling, params.infer) as clients:
        alone = await probing.one_by_one(clients)
        at_once = {role: await probing.at_once(role, clients) for role in engines}
    return probe(alone, at_once, shapes(params, name), origin)


def probe(
    answers: pl.DataFrame,
    at_once: Mapping[str, float],
    engines: dict[str, Row],
    origin: Row,
) -> Probe:
    """Return the values. `answers`: one by one, as latency.parquet has them."""
    costs = per_token(answers, {role: [role] for role in at_once})
    exchange = answers.filter(method=EXCHANGE)
    large_s = costs["large"] * float((exchange["large_tokens"] + exchange["small_tokens"]).sum())
    handoff_ms = bound(exchange, large_s, ROLES, costs)["handoff_ms"]
    drafted = {role: answers.filter(method=role) for role in at_once}
    lengths = {
        role: acceptance_length(int(rows["drafts"].sum()), int(rows["accepted"].sum()))
        for role, rows in drafted.items()
    }
    return Probe(
        engines=engines,
        tokens_per_s={role: 1 / cost for role, cost in costs.items()},
        tokens_per_s_at_once=dict(at_once),
        in_flight=IN_FLIGHT,
        handoff_ms=max(0.0, handoff_ms or 0.0),  # a difference of two times, of which both vary
        cached_percent=cached_percent(exchange),
        acceptance_length={role: n for role, n in lengths.items() if n is not None},
        other_load=float(answers["other_load"].to_numpy().mean()),
        machine=origin,
    )


def write(params: Params, name: str) -> Iterator[str]:
    """Measure a pair, keep the values for plan and replay, and yield a line for each."""
    logs = LOGS / name / "probe"
    yield f"starting {', '.join(params.pair(name).engines)} (logs: {logs})"
    found = measure(params, name, logs)
    path = path_of(RESULTS, name)
    write_text(path, found.model_dump_json(indent=2) + "\n")
    yield from map(str, findings(found))
    yield f"{path} has these values for `relaygen plan`, and `relaygen replay --speeds {path}`"


# What the values mean.


def findings(found: Probe) -> Iterator[Finding]:
    """Yield a line for each value."""
    for role in found.tokens_per_s:
        yield speed(found, role)
    yield handoff(found)
    yield cache(found)
    for role, length in found.acceptance_length.items():
        yield acceptance(found, role, length)
    cores = psutil.cpu_count() or 1
    if found.other_load > latency.IDLE * cores:
        yield Finding(
            "look",
            f"other work used {found.other_load:.1f} of {cores} cores meanwhile: measure again on "
            "an idle machine",
        )


def speed(found: Probe, role: str) -> Finding:
    """Return what an engine writes a second."""
    alone, large = found.tokens_per_s[role], found.tokens_per_s["large"]
    text = (
        f"{role}: {alone:.1f} tokens/s alone, {found.tokens_per_s_at_once[role]:.1f} with "
        f"{found.in_flight} in flight"
    )
    if role == "large" or alone > large:
        return Finding("ok", text)
    return Finding("look", f"{text}; alone no faster than the large model: it cannot pay")


def handoff(found: Probe) -> Finding:
    """Return what a hand-off takes, and how many tokens of the small model make up for two."""
    text = f"hand-off: {found.handoff_ms:.1f} ms"
    large, small = (1000 / found.tokens_per_s[role] for role in ROLES)
    if small >= large:
        return Finding("look", f"{text}, which no segment of the small model makes up for")
    n = math.ceil(2 * found.handoff_ms / (large - small))
    text += f"; there and back pays from {n} tokens of the small model on"
    if n <= SENTENCE:
        return Finding("ok", text)
    return Finding("look", f"{text}, and a sentence has about {SENTENCE}")


def cache(found: Probe) -> Finding:
    """Return how much of what is handed over the engines know already."""
    text = f"prefix cache: {found.cached_percent:.0f} % of the tokens handed over were in it"
    if found.cached_percent >= 50:
        return Finding("ok", text)
    if found.cached_percent:
        return Finding("look", f"{text}; the rest is read again at each hand-off")
    return Finding(
        "look",
        f"{text}: each hand-off reads the whole answer again, and the relay cannot pay. Models "
        "with other layers than attention are often served so; the engine's log says whether "
        "prefix caching is on",
    )


def acceptance(found: Probe, role: str, length: float) -> Finding:
    """Return how many tokens an engine that drafts writes at a step."""
    gain = found.tokens_per_s[role] / found.tokens_per_s["large"]
    text = f"{role}: {length:.2f} tokens a step, {gain:.2f} times the large model's speed"
    return Finding("ok" if gain > 1 else "look", text)
