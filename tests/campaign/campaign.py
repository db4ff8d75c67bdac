"""Many runs, each with its share of the events."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.campaign.events import Event, draw
from tests.campaign.outcome import problems
from tests.campaign.run import COMMANDS, FailedError, disturb, new_run, to_the_end


@dataclass(frozen=True)
class Result:
    """A run: its events with what became of the command after each, and what went wrong."""

    folder: Path
    events: list[tuple[Event, str]]
    wrong: list[str]


def campaign(
    base: Path, n_events: int, seed: int, per_run: int, at_once: int = 1
) -> Iterator[Result]:
    """Have events take place: `per_run` in each checkout, `at_once` runs side by side.

    A run that is through early leaves its events to another one.
    """
    n_runs = 0
    with ThreadPoolExecutor(at_once) as pool:
        whole = pool.submit(undisturbed, base)
        while n_events > 0:
            shares = [min(per_run, n_events - i) for i in range(0, n_events, per_run)]
            begun = [
                pool.submit(one_run, base, share, f"{seed}/{n_runs + i}", command(seed, i), whole)
                for i, share in enumerate(shares)
            ]
            for run, share in zip(begun, shares, strict=True):
                yield (result := run.result())
                n_events -= share if result.wrong else len(result.events)
            n_runs += len(begun)


def command(seed: int, i: int) -> str:
    """What starts the i-th run: each command once in two runs."""
    return Random(f"{seed}/{i // 2}").sample(list(COMMANDS), 2)[i % 2]


def undisturbed(base: Path) -> Path:
    """A checkout in which a run went through."""
    with new_run(base, "snakemake") as run:
        to_the_end(run)
    return run.folder


def one_run(base: Path, n_events: int, seed: str, starts: str, whole: Future[Path]) -> Result:
    """Disturb a run and check it; its checkout stays where something is wrong."""
    random = Random(seed)
    done: list[tuple[Event, str]] = []
    with new_run(base, starts) as run:
        try:
            for one in disturb(run, [draw(random, starts) for _ in range(n_events)], random):
                done.append(one)
            to_the_end(run)
            wrong = list(problems(run.folder, run.temporary, whole.result()))
        except FailedError as error:
            wrong = [str(error)]
    if wrong:
        run.note("\n".join(["wrong:", *wrong]))
    else:
        shutil.rmtree(run.folder)
    return Result(run.folder, done, wrong)


def table(results: Sequence[Result]) -> str:
    """The events by target and signal, and what became of the command."""
    became = Counter(
        (event.kind, event.sign.name, outcome)
        for result in results
        for event, outcome in result.events
    )
    lines = [f"{'at':12} {'signal':8} {'ended':>6} {'went on':>8}"]
    for kind, sign in sorted({key[:2] for key in became}):
        counts = (became[kind, sign, outcome] for outcome in ("ended", "went on"))
        lines.append("{:12} {:8} {:6} {:8}".format(kind, sign, *counts))
    wrong = [result for result in results if result.wrong]
    lines.append(f"{became.total()} events in {len(results)} runs, {len(wrong)} of them wrong")
    return "\n".join([*lines, *(f"{one.folder}: {line}" for one in wrong for line in one.wrong)])
