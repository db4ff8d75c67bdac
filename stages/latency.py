"""How long answers take: one request at a time, all methods on the same engines (paper Table 3).

Every problem is asked `runs` times. Methods take turns problem by problem, each run in another
order, so that a slow minute hits all alike. A short request per engine comes first and is not
counted. What other work used of the machine meanwhile is recorded with every answer.
"""

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import polars as pl
import psutil
import uvloop

from stages import answering, cli, infer, provenance, recipe
from stages.answering import Answering, Task
from stages.engine import server
from stages.engine.client import Client, RequestFailedError
from stages.errors import UserError
from stages.files import Row, Shard, read_parquet, write_parquet
from stages.methods.base import Request
from stages.params import load
from stages.progress import Progress

log = logging.getLogger(__name__)
Item = TypeVar("Item")
WARM_UP_TOKENS = 8
IDLE = 0.1  # of all cores: a machine whose other work uses no more counts as idle
SCHEMA = pl.Schema(
    {
        "method": pl.String(),
        **infer.SCHEMA,
        "drafts": pl.Int64(),
        "accepted": pl.Int64(),
        "other_load": pl.Float64(),
    }
)


def turns(
    methods: Sequence[str], problems: Sequence[Item], runs: int
) -> Iterator[tuple[int, Item, str]]:
    """(run, problem, method) in the order of asking: the first method is another each time."""
    for turn, (run, problem) in enumerate(itertools.product(range(runs), problems)):
        first = turn % len(methods)
        for method in [*methods[first:], *methods[:first]]:
            yield run, problem, method


async def measure(
    asking: Mapping[str, Answering], problems: pl.DataFrame, runs: int, shard: Shard
) -> list[Row]:
    """One row per method, problem and run; those in `shard` are not asked for again."""
    have = {(row["method"], row["problem_id"], row["repeat"]) for row in shard.rows}
    any_method = next(iter(asking.values()))
    rows = problems.iter_rows(named=True)
    order = list(turns(list(asking), list(rows), runs))
    async with answering.connected(any_method.engines, any_method.pair, any_method.params) as all_:
        await warm_up(all_, order[0][1]["prompt_ids"])
        with Progress("latency", len(order), done=len(have)) as progress:
            for run, problem, method in order:
                if (method, problem["problem_id"], run) in have:
                    continue
                prompt_ids = problem[asking[method].method.prompt_column]
                task = Task(problem["problem_id"], run, prompt_ids)
                row = await timed(asking[method], task, all_)
                shard.append({"method": method, **row})
                progress.step(len(row["token_ids"]))
    return shard.rows


async def timed(asking: Answering, task: Task, clients: Mapping[str, Client]) -> Row:
    """One answer, with what its engines drafted, and others used, meanwhile."""
    used = [clients[role] for role in asking.method.roles]
    drafted = [await client.speculation() for client in used]
    others = others_cpu_s()
    try:
        row = await asking.answer(task, clients)
    except RequestFailedError as error:
        what = f"problem {task.problem_id}, run {task.repeat}"
        raise UserError(f"latency: {what}: {error}; run again to go on") from error
    others = others_cpu_s() - others
    after = [await client.speculation() for client in used]
    drafts, accepted = (
        sum(b[i] - a[i] for a, b in zip(drafted, after, strict=True)) for i in range(2)
    )
    load = max(0.0, others / row["wall_s"])
    return {**row, "drafts": drafts, "accepted": accepted, "other_load": load}


def others_cpu_s() -> float:
    """CPU seconds so far of all that is not this process and its engines; a host's steal too."""
    total = psutil.cpu_times()
    busy = total.user + total.nice + total.system + total.irq + total.softirq + total.steal
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return float(busy - sum(time.user + time.system for time in times))


async def warm_up(clients: Mapping[str, Client], prompt_ids: list[int]) -> None:
    """A short request to each engine: its first one is slower than all others."""
    for role, client in clients.items():
        await client.complete(Request(role, prompt_ids, WARM_UP_TOKENS), seed=0, salt="warm-up")


def first_problems(file: Path, n: int) -> pl.DataFrame:
    """The first `n` of a problem set, as the paper took problems 1-5 of AIME 2025-I."""
    problems = read_parquet(file)
    if len(problems) < n:
        raise UserError(
            f"latency.n_problems is {n}, but {file.stem} has {len(problems)} problems: "
            "raise its n_problems, or lower latency.n_problems"
        )
    return problems.head(n)


def note_load(rows: Sequence[Row]) -> None:
    """Say so where the machine had other work: ratios hold better than seconds then."""
    load, cores = fmean(row["other_load"] for row in rows), psutil.cpu_count() or 1
    log.info("other work used %.2f of %d cores on average", load, cores)
    if load > IDLE * cores:
        cli.warn(
            f"latency: other work used {load:.1f} of {cores} cores meanwhile: on an idle machine "
            "the speedups are less noisy, and may be others"
        )


def main() -> None:
    """Write latency.parquet of a pair."""
    parser = cli.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="the benchmark to time")
    parser.add_argument("--recipes", type=Path, required=True, help="folder METHOD.yaml")
    parser.add_argument("--out", type=Path, required=True, help="latency.parquet")
    args = parser.parse_args()
    cli.start_log(args.log)
    params = load(args.params)
    pair, methods = params.pair(args.pair), params.methods_of(args.pair)
    problems = first_problems(args.problems, params.latency.n_problems)
    cues = {name: tuple(recipe.read(args.recipes / f"{name}.yaml")["cues"]) for name in methods}
    roles = tuple(itertools.chain.from_iterable(m.roles for m in methods.values()))
    specs = server.specs(pair, params.engines, roles, concurrency=1)
    lines = {name: method.model_dump() for name, method in methods.items()}
    handoff = {name: params.handoff(pair, method) for name, method in methods.items()}
    origin = provenance.of_answers(
        params, args.pair, specs, args.problems, methods=lines, cues=cues, handoff=handoff,
        latency=params.latency.model_dump(),
    )  # fmt: skip
    shard = Shard(provenance.shard_path(args.pair, "latency", origin))
    with server.running(specs, params.engines, cli.engine_logs(args.log)) as engines:
        asking = {
            name: Answering(params, pair, method, cues[name], engines)
            for name, method in methods.items()
        }
        rows = uvloop.run(measure(asking, problems, params.latency.runs, shard))
    note_load(rows)
    write_parquet(args.out, pl.DataFrame(rows, schema=SCHEMA), provenance.finished(origin))
    shard.remove()


if __name__ == "__main__":
    cli.run(main)
