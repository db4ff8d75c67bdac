"""What a run shows on the terminal: a line per stage, with its place among all."""

import json
import re
import shutil
import threading
import time
from dataclasses import dataclass, field
from typing import IO, Any

from stages.runtime.durations import spelled
from stages.runtime.progress import MARK

BEGINS = re.compile(r"Running stage '([^']+)'")
SKIPPED = re.compile(r"Stage '([^']+)' (?:didn't change|is cached)")
SAID = re.compile(r"(?:error|warning): ")  # lines of the stages' own
CLEAR = "\r\x1b[K"
LINE_EVERY_S = 120.0  # of a long stage, where the output is no terminal
BAR = 20  # characters


@dataclass
class Stage:
    """A stage that runs. `events`: the last of each kind on engines; `jobs`: the last of each job.

    Jobs may run side by side: their answers and tokens are added.
    """

    name: str
    begun: float = field(default_factory=time.monotonic)
    events: dict[str, Any] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Return its name in words: `infer demo large` for `infer@demo-large`."""
        return re.sub("[@-]", " ", self.name, count=2)

    @property
    def seconds(self) -> float:
        """Return how long it has run."""
        return time.monotonic() - self.begun

    @property
    def written(self) -> str:
        """Return how many answers it has, of how many; empty before it asks for any."""
        if not self.total:
            return ""
        done, total = self.done, self.total
        return f"{done} answers" if done == total else f"{done} of {total} answers"

    @property
    def done(self) -> int:
        """Return how many answers are finished."""
        return sum(job["done"] for job in self.jobs.values())

    @property
    def total(self) -> int:
        """Return how many answers its jobs ask for."""
        return sum(job["total"] for job in self.jobs.values())

    @property
    def speed(self) -> str:
        """Return its tokens per second; empty before there are any."""
        jobs = self.jobs.values()
        if not (tokens := sum(job["tokens"] for job in jobs)):
            return ""
        took = max(job["now"] for job in jobs) - min(job["begun"] for job in jobs)
        return f"{tokens / max(1e-9, took):.0f} tokens/s"

    @property
    def engines(self) -> str:
        """Return the engines that it starts, or how long they took; empty without any."""
        if ready := self.events.get("ready"):
            return f"engines {ready} ready in {spelled(self.events['seconds'])}"
        return f"starting {self.events['starting']}" if "starting" in self.events else ""


class Board:
    """Read what a run prints, line by line, and show what a user wants to know of it."""

    def __init__(self, n_stages: int, out: IO[str]) -> None:
        self.n_stages, self.out = n_stages, out
        self.place = self.skipped = 0
        self.stage: Stage | None = None
        self.said: list[str] = []  # errors
        self.shown = time.monotonic()
        self.live = out.isatty()
        self.lock = threading.RLock()

    def read(self, line: str) -> None:
        """Take one line of the run's output."""
        with self.lock:
            self._read(line)

    def _read(self, line: str) -> None:
        if MARK in line:
            self._event(json.loads(line.partition(MARK)[2]))
        elif SAID.match(line):
            self.said.append(line.rstrip())
            self.print(line.rstrip())
        elif begins := BEGINS.match(line):
            self.end()
            self.place += 1
            self.stage = Stage(begins[1])
            self.refresh()
        elif SKIPPED.match(line):
            self.end()
            self.place += 1
            self.skipped += 1

    def _event(self, event: dict[str, Any]) -> None:
        if not self.stage:
            return
        if "job" in event:
            self.stage.jobs[event["job"]] = event
        else:
            if "starting" in event:
                self.stage.events.pop("ready", None)
            self.stage.events |= event
        if "ready" in event and not self.live:
            self.print(f"{self._place} {self.stage.title}: {self.stage.engines}")
        self.refresh()

    @property
    def _place(self) -> str:
        return f"{self.place}/{self.n_stages}"

    def end(self, failed: bool = False) -> None:
        """Print the line of the stage that has run, if there is one."""
        if not (stage := self.stage):
            return
        self.stage = None
        parts = [stage.written, spelled(stage.seconds), stage.speed]
        words = ", ".join(filter(None, parts))
        if failed:
            words = f"failed after {spelled(stage.seconds)}"
        self.print(f"{self._place} {stage.title}: {words}")

    def refresh(self) -> None:
        """Show how far the stage is: at once on a terminal, else a line now and then."""
        with self.lock:
            if not (stage := self.stage):
                return
            if self.live:
                width = shutil.get_terminal_size().columns - 1
                self.out.write(f"{CLEAR}{self.progress(stage)[:width]}")
                self.out.flush()
            elif time.monotonic() - self.shown > LINE_EVERY_S:
                self.print(self.progress(stage))

    def progress(self, stage: Stage) -> str:
        """Return a line on a stage under way."""
        full = round(BAR * stage.done / stage.total) if stage.total else 0
        bar = f"[{'=' * full}{' ' * (BAR - full)}] " if stage.total and self.live else ""
        parts = [stage.written or stage.engines, spelled(stage.seconds), stage.speed]
        return f"{self._place} {stage.title}: {bar}{', '.join(filter(None, parts))}"

    def print(self, text: str) -> None:
        """Print lines that stay."""
        self.shown = time.monotonic()
        self.out.write(f"{CLEAR if self.live else ''}{text}\n")
        self.out.flush()
