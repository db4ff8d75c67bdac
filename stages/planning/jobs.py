"""The jobs of a pair, before anything is started: engines, cards, answers, time, and what fits.

Every figure comes from params.yaml, from an assumption, or from what lies in results/ and shards/.
"""

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import polars as pl

from stages.config.schema import Benchmark, DemoPair, File, Pair, Params
from stages.engine import gpus, server
from stages.engine.spec import EngineSpec, specs
from stages.methods.base import Method
from stages.planning import estimates
from stages.planning.estimates import BYTES, Assumptions, Family
from stages.problems import sources
from stages.tracking.provenance import SHARDS

RESULTS = Path("results")
ANY_PORT = 8000  # stands for any free one


@dataclass(frozen=True)
class Job:
    """Engines that are started together. `parts`: how often, each for a part of the problems."""

    stage: str
    method: str
    roles: tuple[str, ...]
    concurrency: int
    parts: int = 1
    prefix_caching: bool = True


@dataclass(frozen=True)
class Row:
    """What one job asks of one benchmark, its parts one after another. `kept`: in shards."""

    stage: str
    method: str
    benchmark: str
    cards: dict[str, tuple[str, ...]]
    answers: int
    tokens: float
    hours: float
    gpu_hours: float
    disk_bytes: float
    kept: int
    finished: bool

    @property
    def left(self) -> float:
        """The share that is still to be done, 0 to 1."""
        return 0.0 if self.finished else 1 - min(1.0, self.kept / max(1, self.answers))

    @property
    def status(self) -> str:
        """What is there already."""
        return "finished" if self.finished else f"{self.kept} kept" if self.kept else "-"


def placed(specs: Sequence[EngineSpec], cards: int) -> dict[str, tuple[str, ...]]:
    """{role: its cards} of engines that are started together on a node; none on a CPU."""
    if not any(spec.served.gpus for spec in specs):
        return {}
    return gpus.place(specs, [str(i) for i in range(cards)])


@dataclass(frozen=True)
class Plan:
    """A pair, what is assumed of it, and the speedups over its large model."""

    params: Params
    name: str
    known: Assumptions
    speedups: dict[str, float]

    @property
    def pair(self) -> Pair:
        """The pair's block of params.yaml."""
        return self.params.pair(self.name)

    @property
    def family(self) -> Family:
        """The assumptions about it."""
        return self.known.families[self.pair.family]

    @property
    def bytes_each(self) -> int:
        """Bytes of a weight."""
        return BYTES[self.pair.dtype]

    def jobs(self) -> list[Job]:
        """Every start of engines, in the pipeline's order."""
        n, parts = self.params.infer.concurrency, self.params.infer.shards
        methods, variants = self.params.methods_of(self.name), self.params.variants_of(self.name)
        every = tuple(dict.fromkeys(chain.from_iterable(m.roles for m in methods.values())))
        return [
            Job("traces", "large", ("large",), n),
            Job("margins", "small", ("small",), n, prefix_caching=False),
            *(Job("infer", name, method.roles, n, parts) for name, method in methods.items()),
            *(Job("ablation", name, variant.roles, n, parts) for name, variant in variants.items()),
            Job("latency", f"all {len(methods)}", every, 1),
            Job("answer_stage", "small", ("small",), n),
        ]

    def specs(self, job: Job) -> list[EngineSpec]:
        """The engines of a job."""
        return specs(self.pair, self.params.engines, job.roles, job.concurrency, job.prefix_caching)

    def rows(self) -> list[Row]:
        """What all jobs ask, and the time that starting their engines takes."""
        asked = [(job, list(self.of_job(job))) for job in self.jobs()]
        to_start = [job for job, rows in asked if any(row.left for row in rows)]
        return [*chain.from_iterable(rows for _, rows in asked), self.starts(to_start)]

    def of_job(self, job: Job) -> Iterator[Row]:
        """A row per benchmark; one for a stage that goes over all of them."""
        match job.stage:
            case "traces":
                yield self.writing(job, self.pair.calibration_set, self.known.disk.traces)
            case "margins":
                yield self.margins(job)
            case "latency":
                yield self.latency(job)
            case "answer_stage":
                yield self.answer_stage(job)
            case _:
                for benchmark in self.params.benchmarks_of(self.name, job.method):
                    yield self.writing(job, benchmark, self.known.disk.answers)

    def writing(self, job: Job, benchmark: str, bytes_per_token: float) -> Row:
        """Answers to one benchmark by one method."""
        method = self.params.method(job.method)
        n = self.answers(benchmark)
        each = self.tokens(method, benchmark)
        at_once = estimates.in_flight(
            job.concurrency, math.ceil(n / job.parts), each, self.room(job)
        )
        ms, slowdown = self.ms_per_token(method), self.family.speed.slowdown
        took = estimates.hours(n * each, ms, at_once, slowdown)
        out, shards = self.files(job, benchmark)
        return self.row(job, benchmark, n, n * each, took, bytes_per_token, out, shards)

    def files(self, job: Job, benchmark: str) -> tuple[Path, list[str]]:
        """The file that a job's answers end in, and the names of the shards they wait in."""
        if job.stage == "traces":
            return RESULTS / self.name / "traces.parquet", ["traces"]
        out = RESULTS / self.name / "generations" / job.method / f"{benchmark}.parquet"
        parts = [f"{part + 1}of{job.parts}" for part in range(job.parts)]
        return out, [f"{job.method}-{benchmark}-{part}" for part in parts]

    def in_parts(self, job: Job, benchmark: str) -> int:
        """Answers in parts of a job that are finished while others are not."""
        files = (RESULTS / self.name / "parts" / job.method).glob(f"*/{benchmark}.parquet")
        return sum(len(pl.read_parquet(file, columns=["problem_id"])) for file in files)

    def margins(self, job: Job) -> Row:
        """The small model reads the traces."""
        name = self.pair.calibration_set
        n = self.answers(name)
        tokens = n * self.family.tokens.of("large", name)
        took = estimates.reading_hours(tokens, self.family.speed.read_tokens_per_s)
        out = RESULTS / self.name / "margins.parquet"
        return self.row(job, name, n, tokens, took, self.known.disk.margins, out, [])

    def latency(self, job: Job) -> Row:
        """Every method in turn, one answer at a time."""
        name, methods = self.pair.speed_benchmark, self.params.methods_of(self.name).values()
        asked = self.params.latency.n_problems * self.params.latency.runs
        tokens = sum(asked * self.tokens(method, name) for method in methods)
        took = sum(
            estimates.hours(
                asked * self.tokens(method, name),
                self.ms_per_token(method),
                at_once=1,
                slowdown=0,
            )
            for method in methods
        )
        out = RESULTS / self.name / "latency.parquet"
        n = asked * len(methods)
        return self.row(job, name, n, tokens, took, self.known.disk.answers, out, ["latency"])

    def answer_stage(self, job: Job) -> Row:
        """The small model reads the large one's reasoning and writes the answer stage behind it."""
        names, speed = list(self.pair.benchmarks), self.family.speed
        counts = {name: self.answers(name) for name in names}
        n = sum(counts.values())
        tokens = n * self.family.tokens.answer_stage
        read = sum(counts[name] * self.family.tokens.of("large", name) for name in names)
        ms = speed.ms_per_token["small"]
        at_once = estimates.in_flight(job.concurrency, n, read / n, self.room(job))
        took = estimates.hours(tokens, ms, at_once, speed.slowdown)
        took += estimates.reading_hours(read, speed.read_tokens_per_s)
        out = RESULTS / "summaries" / self.name / "answer_stage.csv"
        shards = [f"answer_stage-{name}" for name in names]
        return self.row(job, "all", n, tokens, took, 0, out, shards)

    def row(
        self,
        job: Job,
        benchmark: str,
        answers: int,
        tokens: float,
        took: float,
        bytes_per_token: float,
        out: Path,
        shards: Sequence[str],
    ) -> Row:
        """A row, with what cards it takes and what is there of it."""
        cards = placed(self.specs(job), self.known.node.cards)
        return Row(
            stage=job.stage,
            method=job.method,
            benchmark=benchmark,
            cards=cards or dict.fromkeys(dict.fromkeys(job.roles), ()),
            answers=answers,
            tokens=tokens,
            hours=took,
            gpu_hours=took * self.gpus(job),
            disk_bytes=tokens * bytes_per_token,
            kept=self.in_parts(job, benchmark) + sum(kept(self.name, shard) for shard in shards),
            finished=out.is_file(),
        )

    def starts(self, jobs: Sequence[Job]) -> Row:
        """The time until engines are ready, of all unfinished jobs one after another."""
        each, n = self.family.speed.start_s / 3600, sum(job.parts for job in jobs)
        gpu_hours = sum(each * self.gpus(job) * job.parts for job in jobs)
        return Row("engines", f"{n} starts", "", {}, 0, 0, each * n, gpu_hours, 0, 0, False)

    def gpus(self, job: Job) -> int:
        """The cards that a job's engines hold together."""
        return sum(spec.served.gpus for spec in self.specs(job))

    def room(self, job: Job) -> int | None:
        """Tokens that each engine of a job can keep in its KV cache; None: not known."""
        rooms = [self.engine_room(role) for role in job.roles]
        known = [room for room in rooms if room is not None]
        return min(known) if known else None

    def engine_room(self, role: str) -> int | None:
        """Tokens in the KV cache of one engine."""
        served, memory = self.pair.engines[role], self.params.engines.gpu_memory
        return estimates.engine_room(served, self.known, self.bytes_each, memory)

    def answers(self, benchmark: str) -> int:
        """Problems times repeats."""
        return problems(benchmark, self.pair.problem_sets[benchmark], self.known) * (
            self.pair.repeats
        )

    def tokens(self, method: Method, benchmark: str) -> int:
        """Mean tokens of a method's answer: the large model's, but for the small one alone.

        The paper's speedups are over the large model's time for its own answers.
        """
        return self.family.tokens.of(timed_like(method), benchmark)

    def ms_per_token(self, method: Method) -> float:
        """Time of a token with one answer in flight."""
        speed, like = self.family.speed.ms_per_token, timed_like(method)
        if like in speed:
            return speed[like]
        return speed["large"] / self.speedups.get(like, 1.0)

    def misfits(self) -> list[str]:
        """Why engines cannot run as they are asked to; one line each."""
        pair, room = self.pair, self.known.prompt_tokens
        lines = [line for role in self.roles() for line in self.engine_misfits(role)]
        lines += [line for job in self.jobs() if (line := self.job_misfit(job))]
        if pair.max_model_len < pair.budget + room:
            lines.append(
                f"max_model_len {pair.max_model_len} is less than budget {pair.budget} and "
                f"{room} tokens for a prompt: raise the one or lower the other"
            )
        return [f"pair '{self.name}': {line}" for line in dict.fromkeys(lines)]

    def roles(self) -> list[str]:
        """The engines that any job starts."""
        return list(dict.fromkeys(chain.from_iterable(job.roles for job in self.jobs())))

    def job_misfit(self, job: Job) -> str | None:
        """That a job wants more cards than a node has; the stages differ, not the reason."""
        wanted, cards = self.gpus(job), self.known.node.cards
        if wanted <= cards:
            return None
        names = ", ".join(f"{spec.role} {spec.served.gpus}" for spec in self.specs(job))
        return f"{job.stage} {job.method} takes {wanted} GPUs ({names}), a node has {cards}"

    def engine_misfits(self, role: str) -> Iterator[str]:
        """What does not fit of one engine; models without a line in plan.yaml are not checked."""
        served, memory = self.pair.engines[role], self.params.engines.gpu_memory
        if not served.gpus or not (found := estimates.shapes(served, self.known.models)):
            return
        if found[0].heads % served.gpus:
            yield (
                f"engine '{role}': gpus {served.gpus} does not divide the {found[0].heads} "
                f"attention heads of {served.model}"
            )
        share = memory * self.known.node.card_gib
        weights = estimates.engine_weights_gib(served, self.known, self.bytes_each)
        room = self.engine_room(role) or 0
        if weights > share:
            yield (
                f"engine '{role}': {weights:.1f} GiB of weights on each of {served.gpus} cards, "
                f"engines.gpu_memory leaves it {share:.1f}: raise its gpus"
            )
        elif room < self.pair.max_model_len:
            yield (
                f"engine '{role}': its KV cache holds {room} tokens, not one answer of "
                f"max_model_len {self.pair.max_model_len}: raise its gpus or engines.gpu_memory"
            )

    def memory(self) -> str:
        """Weights and KV cache of each engine on GPUs, in one line."""
        return "; ".join(filter(None, map(self.engine_memory, self.roles())))

    def engine_memory(self, role: str) -> str:
        """How an engine fills its cards; empty for one on the CPU."""
        served, room = self.pair.engines[role], self.engine_room(role)
        if not served.gpus:
            return ""
        if room is None:
            return f"{role}: size of {served.model} not known, not checked"
        weights = estimates.engine_weights_gib(served, self.known, self.bytes_each)
        return f"{role}: {weights:.1f} GiB of weights a card, KV cache for {room:,} tokens"

    def model_bytes(self) -> float:
        """What the pair's models take on disk, each once; those of the repository not counted."""
        found: dict[str, float] = {}
        for served in self.pair.engines.values():
            found |= estimates.stored_bytes(served, self.known.models, self.bytes_each)
        return sum(found.values())

    def commands(self) -> Iterator[str]:
        """A comment and a command line for each engine of each job."""
        first = self.params.engines.base_port
        for job in self.jobs():
            specs = self.specs(job)
            cards = placed(specs, self.known.node.cards)
            for i, spec in enumerate(specs):
                times = f", {job.parts} times" if job.parts > 1 else ""
                yield f"# {self.name} {job.stage} {job.method}: {spec.role}{times}"
                line = server.command(spec, (first or ANY_PORT) + i)
                seen = ",".join(cards.get(spec.role, ()))
                yield (f"CUDA_VISIBLE_DEVICES={seen} " if seen else "") + shlex.join(line)


def timed_like(method: Method) -> str:
    """The row of the paper's Table 3 that a method is like; for a model alone, its engine."""
    roles = method.roles
    if method.kind == "single":
        return roles[0]
    if method.kind == "relay":
        return "relaygen_eagle3" if "eagle3" in roles else "relaygen"
    return method.kind


def problems(name: str, benchmark: Benchmark, known: Assumptions) -> int:
    """How many problems a run takes of a set."""
    if isinstance(benchmark, DemoPair):
        return benchmark.n_problems
    if isinstance(benchmark, File):
        return benchmark.n_problems or len(sources.from_file(benchmark))
    return benchmark.n_problems or estimates.problems_known(name, known)


def kept(pair: str, shard: str) -> int:
    """Finished answers in the newest shard of that name."""
    files = SHARDS.glob(f"{pair}/{shard}-{'[0-9a-f]' * 16}.jsonl")
    newest = max(files, key=lambda file: file.stat().st_mtime, default=None)
    return newest.read_bytes().count(b"\n") if newest else 0
