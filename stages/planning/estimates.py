"""How many answers and tokens a job asks for, and how long it takes."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

from stages.config.contenders import repeats
from stages.config.schema import Benchmark, DemoPair, File, Traces
from stages.config.selection import benchmarks_of, methods_of
from stages.generation import imported
from stages.methods.base import Method
from stages.planning.assumptions import Assumptions
from stages.planning.jobs import Job
from stages.planning.pair import PlannedPair
from stages.planning.sizes import engine_room
from stages.problems import sources

MS_PER_HOUR = 3_600_000


@dataclass(frozen=True)
class Estimate:
    """What a job asks of one benchmark, its shards one after another; `disk_bytes` of results."""

    benchmark: str
    answers: int
    tokens: float
    hours: float
    disk_bytes: float


def estimates(pair: PlannedPair, job: Job) -> list[Estimate]:
    """Return one estimate per benchmark; a single one for a stage that covers all of them."""
    disk = pair.known.disk
    match job.stage:
        case "traces":
            return [writing(pair, job, pair.settings.calibration_set, disk.traces)]
        case "margins":
            return [margins(pair)]
        case "latency":
            return [latency(pair)]
        case "throughput":
            return [throughput(pair, job)]
        case "answer_stage":
            return [answer_stage(pair, job)]
    names = benchmarks_of(pair.params, pair.name, job.method)
    return [writing(pair, job, name, disk.answers) for name in names]


def writing(pair: PlannedPair, job: Job, benchmark: str, bytes_per_token: float) -> Estimate:
    """Estimate the answers of one method to one benchmark."""
    n = n_answers(pair, benchmark)
    each = answer_tokens(pair, job.method, benchmark)
    at_once = in_flight(job.concurrency, math.ceil(n / job.shards), each, room(pair, job))
    took = writing_hours(n * each, ms_per_token(pair, job.method), at_once, slowdown(pair))
    return Estimate(benchmark, n, n * each, took, n * each * bytes_per_token)


def margins(pair: PlannedPair) -> Estimate:
    """Estimate the small model's reading of the traces."""
    name = pair.settings.calibration_set
    n = n_answers(pair, name)
    tokens = n * tokens_by(pair, "large", name)
    took = reading_hours(tokens, pair.family.speed.read_tokens_per_s)
    return Estimate(name, n, tokens, took, tokens * pair.known.disk.margins)


def latency(pair: PlannedPair) -> Estimate:
    """Estimate the answers of all methods in turn, one at a time."""
    name, methods = pair.settings.speed_benchmark, methods_of(pair.params, pair.name)
    asked = pair.params.latency.n_problems * pair.params.latency.runs
    tokens = [asked * answer_tokens(pair, method, name) for method in methods]
    took = sum(
        writing_hours(some, ms_per_token(pair, method), at_once=1, slowdown=0)
        for some, method in zip(tokens, methods, strict=True)
    )
    disk_bytes = sum(tokens) * pair.known.disk.answers
    return Estimate(name, asked * len(methods), sum(tokens), took, disk_bytes)


def throughput(pair: PlannedPair, job: Job) -> Estimate:
    """Estimate the answers of methods that share engines, with each number in flight."""
    name, about = pair.settings.speed_benchmark, pair.params.throughput
    methods = job.method.split(", ")
    answers, tokens, hours = 0, 0.0, 0.0
    for method, most in itertools.product(methods, about.in_flight):
        n = about.n_problems * repeats(most, about.n_problems)
        each = answer_tokens(pair, method, name)
        at_once = in_flight(most, n, each, room(pair, job))
        answers, tokens = answers + n, tokens + n * each
        took = writing_hours(n * each, ms_per_token(pair, method), at_once, slowdown(pair))
        hours += took / job.replicas
    return Estimate(name, answers, tokens, hours, tokens * pair.known.disk.checkpoints)


def answer_stage(pair: PlannedPair, job: Job) -> Estimate:
    """Estimate the answer stages that the small model writes after the large model's reasoning."""
    counts = {name: n_answers(pair, name) for name in pair.settings.benchmarks}
    speed, n = pair.family.speed, sum(counts.values())
    tokens = n * pair.family.tokens.answer_stage
    read = sum(count * tokens_by(pair, "large", name) for name, count in counts.items())
    at_once = in_flight(job.concurrency, n, read / n, room(pair, job))
    small = pair.measured.ms_per_token.get("small", speed.ms_per_token["small"])
    took = writing_hours(tokens, small, at_once, slowdown(pair))
    took += reading_hours(read, speed.read_tokens_per_s)
    return Estimate("all", n, tokens, took, 0)


def in_flight(concurrency: int, answers: int, tokens: float, room: int | None) -> int:
    """Return how many answers are written at once.

    `answers`: how many there are. `room`: tokens that fit into the KV cache, None for any number;
    an answer takes `tokens` of it.
    """
    most = min(concurrency, answers)
    return max(1, most if room is None else min(most, int(room / tokens)))


def writing_hours(tokens: float, ms_per_token: float, at_once: int, slowdown: float) -> float:
    """Return the time to write `tokens` with `at_once` answers in flight, which slow each other."""
    return tokens / at_once * ms_per_token * (1 + slowdown * (at_once - 1)) / MS_PER_HOUR


def reading_hours(tokens: float, tokens_per_s: float) -> float:
    """Return the time to read `tokens` of prompts."""
    return tokens / tokens_per_s / 3600


def room(pair: PlannedPair, job: Job) -> int | None:
    """Return the tokens that fit into the KV cache of each engine of a job; None: not known."""
    rooms = [engine_room(pair, role) for role in job.roles]
    return min((one for one in rooms if one is not None), default=None)


def n_answers(pair: PlannedPair, benchmark: str) -> int:
    """Return problems times repeats."""
    asked = pair.settings.problem_sets[benchmark]
    if isinstance(asked, Traces):
        return sum(1 for _ in imported.rows_of(Path(asked.path)))
    return n_problems(benchmark, asked, pair.known) * pair.settings.repeats


def n_problems(name: str, benchmark: Benchmark, known: Assumptions) -> int:
    """Return how many problems of a set a run takes."""
    if isinstance(benchmark, DemoPair):
        return benchmark.n_problems
    if isinstance(benchmark, File):
        return benchmark.n_problems or len(sources.from_file(benchmark))
    return benchmark.n_problems or known.problems_of(name)


def answer_tokens(pair: PlannedPair, name: str, benchmark: str) -> float:
    """Return the mean tokens of a method's answer: the large model's, except for the small alone.

    The paper's speedups are relative to the large model's time for its own answers. Where an
    earlier run has counted them, they are its own, as is the time of a token.
    """
    counted = pair.measured.tokens.get((name, benchmark))
    like = timed_like(pair.params.method(name))
    return min(counted, pair.settings.budget) if counted else tokens_by(pair, like, benchmark)


def tokens_by(pair: PlannedPair, writer: str, benchmark: str) -> float:
    """Return the mean tokens of one model's answer, which the budget limits."""
    assumed = pair.family.tokens.of(writer, benchmark)
    return min(pair.measured.tokens.get((writer, benchmark), assumed), pair.settings.budget)


def ms_per_token(pair: PlannedPair, name: str) -> float:
    """Return the time of a token with one answer in flight."""
    speed, like = pair.family.speed.ms_per_token, timed_like(pair.params.method(name))
    measured = pair.measured.ms_per_token
    if found := measured.get(name) or measured.get(like):
        return found
    if like in speed:
        return speed[like]
    return measured.get("large", speed["large"]) / pair.speedups.get(like, 1.0)


def slowdown(pair: PlannedPair) -> float:
    """Return the added time per further answer in flight, as a share."""
    found = pair.measured.slowdown
    return pair.family.speed.slowdown if found is None else found


def timed_like(method: Method) -> str:
    """Return the row of the paper's Table 3 with a method's speedup; for one model, its engine.

    Variants of a relay are timed like the relay, and all that route tokens like R2R.
    """
    if method.kind == "single":
        return method.roles[0]
    if method.kind == "relay":
        return "relaygen_eagle3" if "eagle3" in method.roles else "relaygen"
    return "r2r" if method.kind == "token_route" else method.kind
