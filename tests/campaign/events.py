"""What happens to a run: a signal to one of its processes, to two of them, or to all."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil

from tests.end_to_end.conftest import processes_in

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TARGETS = ("dvc", "snakemake", "stage", "leader", "core")  # of the engine: its server, and its core
LATEST_S = 4.0  # after the target is there; some are there for a second


@dataclass(frozen=True)
class Event:
    """A signal. `targets`: empty for all processes; `after_s`: how long these have been there.

    `at_once`: whether the command is given again while what it left behind may still be ending.
    """

    sign: signal.Signals
    targets: tuple[str, ...]
    after_s: float
    at_once: bool

    @property
    def kind(self) -> str:
        """What the event aims at, in the table."""
        if not self.targets:
            return "all"
        return self.targets[0] if len(self.targets) == 1 else "two at once"

    def __str__(self) -> str:
        aim = " and ".join(self.targets) or "all"
        again = "again at once" if self.at_once else "again once all is gone"
        return f"{self.sign.name} to {aim}, {self.after_s:.1f} s after it is there; {again}"


def draw(random: Random, command: str) -> Event:
    """An event for a run that `command` (dvc or snakemake) starts."""
    targets = [target for target in TARGETS if target in {command, *TARGETS[1:]}]
    aims = [*((target,) for target in targets), tuple(random.sample(targets, 2)), ()]
    return Event(
        sign=random.choice(SIGNALS),
        targets=random.choice(aims),
        after_s=LATEST_S * random.random() ** 2,
        at_once=random.random() < 0.5,
    )


def role(words: Sequence[str]) -> str:
    """Which of TARGETS the process of a command line is; empty for none of them."""
    called = Path(words[1]).name if len(words) > 1 else ""
    if "--served-model-name" in words:
        return "leader"
    if words[-1:] == ["EngineCore"]:
        return "core"
    if called == "-m" and words[2].startswith("stages."):
        return "stage"
    return called if called in TARGETS else ""


def aimed_at(event: Event, folder: Path, command: int, random: Random) -> list[psutil.Process]:
    """The processes of a checkout that an event hits; none while one of its targets is missing.

    SIGKILL to all is a power cut; the other signals go to the group of the process `command`, as a
    terminal sends them.
    """
    running = processes_in(folder)
    if not event.targets:
        power_cut = event.sign == signal.SIGKILL
        return [process for process in running if power_cut or group_of(process) == command]
    found: dict[str, list[psutil.Process]] = {}
    for process in running:
        with suppress(psutil.Error):
            found.setdefault(role(process.cmdline()), []).append(process)
    if not set(event.targets) <= found.keys():
        return []
    return [random.choice(found[target]) for target in event.targets]


def group_of(process: psutil.Process) -> int | None:
    """A process's group; None if it has ended."""
    with suppress(ProcessLookupError):
        return os.getpgid(process.pid)
    return None


def send(sign: signal.Signals, processes: Sequence[psutil.Process]) -> None:
    """Signal processes, less those that have ended meanwhile."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(sign)
