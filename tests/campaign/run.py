"""A run under way: started, disturbed, started again until it ends well."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil

from stages.runtime.run import remove_broken_lock
from tests.campaign.events import Event, aimed_at, send
from tests.end_to_end.conftest import (
    checkout,
    environment,
    few_methods,
    processes_in,
    wait_for_none,
)

COMMANDS = {"dvc": ("dvc", "repro"), "snakemake": ("snakemake", "--cores", "2")}
UNDER_WAY = "another run is under way in this folder"
DELAY_S = "0.1"  # that each request takes
LOOK_EVERY_S = 0.1
SETTLED_S = 4.0  # a command that has not ended so long after a signal goes on
PATIENCE_S = 90.0  # for a command to say something, and for what it leaves behind to end
WHOLE_S = 600.0  # for a command that nothing disturbs


class FailedError(Exception):
    """A run did not go as it should."""


def params() -> dict[str, object]:
    """Two methods and one benchmark: all stages, with as little as there is to do."""
    few = few_methods()
    pair = few["pairs"]["demo"]
    pair["benchmarks"] = {"chains_long": pair["benchmarks"]["chains_long"] | {"n_problems": 3}}
    pair["speed_benchmark"] = pair["ablation_benchmark"] = "chains_long"
    return few


@dataclass
class Run:
    """A checkout, and the command that is given in it again and again.

    `disturbed`: whether there was an event since the command was given last.
    """

    folder: Path
    temporary: Path
    command: str
    disturbed: bool = False

    @property
    def requests(self) -> Path:
        """What engines were asked for."""
        return self.folder / "requests.jsonl"

    @property
    def said(self) -> Path:
        """What the commands print, and which events there were."""
        return self.folder / "campaign.log"

    def note(self, line: str) -> None:
        """A line of our own among what the commands print."""
        with self.said.open("a") as file:
            file.write(f"\n=== {time.strftime('%X')} {line}\n")

    def start(self) -> None:
        """Give the command, once what docs/running.md says is done: a broken lock of DVC's goes."""
        remove_broken_lock(self.folder)
        self.note(" ".join(COMMANDS[self.command]))
        self.disturbed, self.begun_at = False, self.said.stat().st_size
        told = {
            "TMPDIR": str(self.temporary),
            "SCRIPTED_LOG": str(self.requests),
            "SCRIPTED_DELAY_S": DELAY_S,
        }
        with self.said.open("ab") as output:
            self.process = subprocess.Popen(
                COMMANDS[self.command],
                cwd=self.folder,
                env=environment(self.folder, **told),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def again(self, at_once: bool) -> None:
        """Give the command again after it has ended; FailedError if nothing had disturbed it.

        One that only says that another run is under way waits for what is left of that.
        """
        refused = UNDER_WAY in self.said.read_bytes()[self.begun_at :].decode(errors="replace")
        if not self.disturbed and not refused:
            raise FailedError("the command failed though nothing had disturbed it")
        if refused or not at_once:
            self.wait_until_gone()
        self.start()

    def hit(self, event: Event, processes: Sequence[psutil.Process]) -> str:
        """Have an event take place; returns what became of the command.

        It goes on if it ignores the signal, or if what was hit had nothing more to do. FailedError
        if it neither ends nor says anything more.
        """
        self.note(str(event))
        begun, said = time.monotonic(), self.said.stat().st_size
        send(event.sign, processes)
        self.disturbed = True
        while self.process.poll() is None:
            waited = time.monotonic() - begun
            moved = self.said.stat().st_size > said
            if waited > SETTLED_S and (moved or any(map(is_there, processes))):
                return "went on"
            if waited > PATIENCE_S:
                raise FailedError(f"hangs after {event}")
            time.sleep(LOOK_EVERY_S)
        return "ended"

    def wait_until_gone(self) -> None:
        """Wait for what a command has left behind to end; FailedError for what stays."""
        if left := wait_for_none(lambda: processes_in(self.folder), PATIENCE_S):
            raise FailedError(f"left running: {left}")


def is_there(process: psutil.Process) -> bool:
    """Whether a process has not ended."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def ended_within(process: subprocess.Popen[bytes], timeout_s: float) -> int | None:
    """The exit code of a command; None if it does not end."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(timeout_s)
    return None


@contextmanager
def new_run(base: Path, command: str) -> Iterator[Run]:
    """A new checkout with a folder for temporary files, whose path is short: sockets lie in it."""
    folder = checkout(Path(tempfile.mkdtemp(prefix="run-", dir=base)), params())
    run = Run(folder, Path(tempfile.mkdtemp(prefix="t-")), command)
    run.start()
    try:
        yield run
    finally:
        for process in processes_in(folder):
            process.kill()
        run.process.wait()
        shutil.rmtree(run.temporary)


def to_the_end(run: Run) -> None:
    """Have the command end well, given again where an event has ended it."""
    while (code := ended_within(run.process, WHOLE_S)) != 0:
        if code is None:
            raise FailedError("hangs")
        run.again(at_once=False)
    run.wait_until_gone()


def disturb(run: Run, events: Sequence[Event], random: Random) -> Iterator[tuple[Event, str]]:
    """Have events take place one after the other, until the run is through.

    Yields each with what became of the command. Raises FailedError if a command fails by itself,
    hangs, or leaves a process behind.
    """
    at_once = False
    for event in events:
        while not (processes := at_its_moment(run, event, random)):
            if run.process.returncode == 0:
                return
            run.again(at_once)
        yield event, run.hit(event, processes)
        at_once = event.at_once


def at_its_moment(run: Run, event: Event, random: Random) -> list[psutil.Process]:
    """Wait for an event's moment; returns whom it hits, nobody if the command ends before."""
    since: float | None = None
    while run.process.poll() is None:
        if time.time() - run.said.stat().st_mtime > WHOLE_S:
            raise FailedError("hangs")
        if not (found := aimed_at(event, run.folder, run.process.pid, random)):
            since = None
        elif since is None:
            since = time.monotonic()
        elif time.monotonic() - since > event.after_s:
            return found
        time.sleep(LOOK_EVERY_S)
    return []
