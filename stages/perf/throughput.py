"""Many answers at once: what the relay writes per second against the number in flight.

How busy an engine is: the share of the time that its process computes, which has one thread.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import polars as pl
import psutil

from stages.analysis import cue_sets
from stages.config.params import load
from stages.config.schema import Params
from stages.engine import server
from stages.engine.server import Engine
from stages.engine.spec import specs
from stages.generation import asking
from stages.generation.answering import tasks
from stages.generation.store import Store
from stages.perf.harness import Figure, arguments, in_turns, machine, ratios, write
from stages.problems.prompts import problem_set
from stages.runtime import command_line
from stages.tracking.files import Row
from stages.tracking.recipes import Target, settings_of

IN_FLIGHT = (1, 4, 16, 64)
N_PROBLEMS = 4
REPEATS = 2
PAIR, METHOD = "demo", "relaygen"
GOAL = "≥ 5 ×"  # noqa: RUF001


@dataclass(frozen=True)
class Load:
    """What came of some answers at once; `busy`: percent, of each engine."""

    seconds: float
    rows: list[Row]
    busy: dict[str, float]

    @property
    def tokens_per_s(self) -> float:
        """Of all answers together."""
        return sum(len(row["token_ids"]) for row in self.rows) / self.seconds

    @property
    def answers_per_minute(self) -> float:
        """Finished ones."""
        return 60 * len(self.rows) / self.seconds

    @property
    def unfairness(self) -> float:
        """Seconds per token of the answer that waited most, against those of the median one."""
        each: list[float] = [row["wall_s"] / len(row["token_ids"]) for row in self.rows]
        return max(each) / median(each)


class Asking:
    """The relay's answers to a few problems, each load with seeds of its own."""

    def __init__(self, params: Params, engines: Mapping[str, Engine], folder: Path) -> None:
        self.engines, self.infer, self.folder = engines, params.infer, folder
        self.settings = settings_of(params, Target("infer", PAIR, METHOD))
        self.problems = first_problems(params, N_PROBLEMS)
        self.seeds = count()

    def load(self, in_flight: int) -> Load:
        """Every problem equally often, twice as many answers as are in flight, or so."""
        seed = next(self.seeds)
        infer = self.infer.model_copy(update={"concurrency": in_flight})
        settings = self.settings.model_copy(update={"seed": seed})
        answering = asking.answering(settings, settings.method, cue_sets.cue_set("qwen3").cues)
        todo = tasks(self.problems, -(-2 * in_flight // N_PROBLEMS))
        label = f"{in_flight} in flight"
        with Store(self.folder / f"{seed}") as store:
            begun, used = time.perf_counter(), cpu_s(self.engines)
            asking.collect(answering, todo, store, self.engines, settings.sampling, infer, label)
            took, after = time.perf_counter() - begun, cpu_s(self.engines)
        rows = [store.row(task.key) for task in todo]
        return Load(took, rows, {role: 100 * (after[role] - used[role]) / took for role in used})


def first_problems(params: Params, n: int) -> pl.DataFrame:
    """The first `n` of the benchmark that speed is measured on."""
    name = params.pair(PAIR).speed_benchmark
    settings = settings_of(params, Target("prepare", PAIR, name))
    problems = settings.problem_set.model_copy(update={"n_problems": n})
    return problem_set(name, settings.model_copy(update={"problem_set": problems}))[0]


def cpu_s(engines: Mapping[str, Engine]) -> dict[str, float]:
    """CPU seconds so far of the process that runs each engine's model, without its front end."""
    return {
        role: sum(
            sum(child.cpu_times()[:2])
            for child in psutil.Process(engine.process.pid).children(recursive=True)
        )
        for role, engine in engines.items()
    }


def figures(loads: Mapping[int, list[Load]], default: int) -> list[Figure]:
    """All rows of the table."""
    rows = []
    for n, some in loads.items():
        rows.append(Figure(f"{n} in flight", "tokens/s", [load.tokens_per_s for load in some]))
        for role in some[0].busy:
            busy = [load.busy[role] for load in some]
            rows.append(Figure(f"{n} in flight: {role} model busy", "%", busy, detail=n != default))
    per_minute, one = ([load.answers_per_minute for load in loads[n]] for n in (default, 1))
    unfairness = [load.unfairness for load in loads[default]]
    return [
        *rows,
        Figure(f"{default} in flight", "answers a minute", per_minute),
        Figure("against one at a time", "×", ratios(per_minute, one), GOAL),  # noqa: RUF001
        Figure("seconds per token, slowest answer against the median", "×", unfairness),  # noqa: RUF001
    ]


def main() -> None:
    """Measure, and write the figures."""
    args = arguments(__doc__)
    origin = machine()
    params = load(Path("params.yaml"))
    roles = params.method(METHOD).roles
    default = params.infer.concurrency
    levels = sorted({*IN_FLIGHT, default})
    wanted = specs(params.pair(PAIR), params.engines, roles, concurrency=max(levels))
    with (
        TemporaryDirectory() as folder,
        server.running(wanted, params.engines, command_line.engine_logs(args.log)) as engines,
    ):
        asking = Asking(params, engines, Path(folder))
        loads = in_turns({n: partial(asking.load, n) for n in levels}, REPEATS)
    write(args.out, "Answers at once", figures(loads, default), origin)


if __name__ == "__main__":
    command_line.run(main)
