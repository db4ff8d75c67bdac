"""Many answers at once: tokens per second of the relay by the number of answers in flight.

How busy an engine is: the share of the time in which its process, of one thread, computes.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from stages.analysis import cue_sets
from stages.config.params import load
from stages.config.schema import Params
from stages.config.selection import with_defaults
from stages.engine import models, server
from stages.engine.server import Engine
from stages.engine.spec import specs
from stages.generation import asking
from stages.generation.answering import Answering, tasks
from stages.generation.store import Store
from stages.perf import bundled
from stages.perf.bundled import PAIR
from stages.perf.harness import Measurement, arguments, in_turns, machine, ratios, write
from stages.runtime import command_line
from stages.tracking.files import Row

IN_FLIGHT = (1, 4, 16, 64)
N_PROBLEMS = 4
REPEATS = 2
METHOD = "relaygen"
GOAL = "≥ 5 ×"  # noqa: RUF001


@dataclass(frozen=True)
class Load:
    """Some answers in flight at once: their rows, and how busy each engine was, in percent."""

    seconds: float
    rows: list[Row]
    busy: dict[str, float]

    @property
    def tokens_per_s(self) -> float:
        """Return the tokens per second of all answers together."""
        return sum(len(row["token_ids"]) for row in self.rows) / self.seconds

    @property
    def answers_per_minute(self) -> float:
        """Return the answers finished per minute."""
        return 60 * len(self.rows) / self.seconds

    @property
    def unfairness(self) -> float:
        """Return the seconds per token of the slowest answer against those of the median one."""
        each: list[float] = [row["wall_s"] / len(row["token_ids"]) for row in self.rows]
        return max(each) / median(each)


class Asking:
    """The relay's answers to a few problems, with other seeds in each load."""

    def __init__(self, params: Params, engines: Mapping[str, Engine], folder: Path) -> None:
        self.params, self.engines, self.folder = params, engines, folder
        self.pair = params.pair(PAIR)
        self.tokenizer = models.tokenizer(self.pair.engines["large"])
        self.problems = bundled.problems(params, self.pair.speed_benchmark, N_PROBLEMS)
        self.seeds = count()

    def load(self, in_flight: int) -> Load:
        """Ask every problem equally often, about twice as many answers as are in flight."""
        seed = next(self.seeds)
        method, cues = with_defaults(self.params, PAIR, METHOD), cue_sets.cue_set("qwen3").cues
        answering = Answering(
            seed, self.pair.budget, method, cues, self.tokenizer, self.pair.family.marks
        )
        infer = self.params.infer.model_copy(update={"concurrency": in_flight})
        todo = tasks(self.problems, -(-2 * in_flight // N_PROBLEMS))
        with Store(self.folder / str(seed)) as store:
            begun, used = time.perf_counter(), cpu_s(self.engines)
            asked, label = [asking.Asked(answering, todo, store)], f"{in_flight} in flight"
            asking.collect(asked, self.engines, self.pair.sampling, infer, label)
            took, after = time.perf_counter() - begun, cpu_s(self.engines)
            rows = [store.row(task.key) for task in todo]
        return Load(took, rows, {role: 100 * (after[role] - used[role]) / took for role in used})


def cpu_s(engines: Mapping[str, Engine]) -> dict[str, float]:
    """Return the CPU seconds so far of each engine's model process, without its front end."""
    return {
        role: sum(
            sum(child.cpu_times()[:2])
            for child in psutil.Process(engine.process.pid).children(recursive=True)
        )
        for role, engine in engines.items()
    }


def measurements(loads: Mapping[int, list[Load]], default: int) -> list[Measurement]:
    """Return all rows of the table; `default`: the number in flight of params.yaml."""
    rows = []
    for n, some in loads.items():
        rows.append(Measurement(f"{n} in flight", "tokens/s", [load.tokens_per_s for load in some]))
        for role in some[0].busy:
            busy = [load.busy[role] for load in some]
            rows.append(
                Measurement(f"{n} in flight: {role} model busy", "%", busy, detail=n != default)
            )
    per_minute, one = ([load.answers_per_minute for load in loads[n]] for n in (default, 1))
    unfairness = [load.unfairness for load in loads[default]]
    return [
        *rows,
        Measurement(f"{default} in flight", "answers a minute", per_minute),
        Measurement("against one at a time", "×", ratios(per_minute, one), GOAL),  # noqa: RUF001
        Measurement("seconds per token, slowest answer against the median", "×", unfairness),  # noqa: RUF001
    ]


def main() -> None:
    """Measure, and write the results."""
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
    write(args.out, "Answers at once", measurements(loads, default), origin)


if __name__ == "__main__":
    command_line.run(main)
