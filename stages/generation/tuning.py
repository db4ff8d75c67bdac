"""Answers of many policies on the same engines, started once, and only if an answer is missing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import yaml

from stages.analysis.tuning import Candidate
from stages.engine import server
from stages.engine.server import Engine
from stages.engine.spec import EngineSpec, specs
from stages.generation import asking
from stages.generation.answering import Task
from stages.generation.answers import table
from stages.methods.base import Method
from stages.tracking import provenance
from stages.tracking.files import Row, write_text
from stages.tracking.notes import write_provenance
from stages.tracking.recipes import Job


@dataclass
class Panel:
    """Engines that several methods of a pair take turns on. `cues`: of those that use the pair's.

    `logs`: of the engines. Use as a context manager: see `panel`.
    """

    job: Job
    cues: Sequence[str]
    logs: Path
    stack: ExitStack
    engines: Mapping[str, Engine] = field(default_factory=dict)

    def answers(self, name: str, method: Method, todo: Sequence[Task]) -> pl.DataFrame:
        """Return a method's answers to tasks, asking for those that the store lacks."""
        cues = tuple(self.cues) if method.cues == "pair" else ()
        settings = self.job.settings
        with asking.answers_store(settings, method, cues, "tune") as store:
            if missing := asking.unanswered(todo, store):
                engines = self._started()
                store.begin_session(provenance.session(self._wanted))
                by = asking.answering(settings, method, cues)
                asked = [asking.Asked(by, missing, store)]
                label = f"tune ({name})"
                asking.collect(asked, engines, settings.sampling, self.job.infer, label)
            return table(todo, store)

    def _started(self) -> Mapping[str, Engine]:
        """Start the engines, the first time."""
        if not self.engines:
            running = server.running(self._wanted, self.job.engines, self.logs)
            self.engines = self.stack.enter_context(running)
        return self.engines

    @property
    def _wanted(self) -> list[EngineSpec]:
        """Return what is to be started."""
        settings, infer = self.job.settings, self.job.infer
        return specs(settings, self.job.engines, tuple(settings.engines), infer.concurrency)


@contextmanager
def panel(job: Job, cues: Sequence[str], logs: Path) -> Iterator[Panel]:
    """Have engines ready until the end of the block."""
    with ExitStack() as stack:
        yield Panel(job, cues, logs, stack)


def write_line(chosen: Candidate | None, out: Path, origin: Row) -> None:
    """Write the line to put under `methods:`, none if no policy is good enough."""
    line = {"tuned": chosen.line} if chosen else {}
    write_text(out / "chosen.yaml", yaml.safe_dump(line, sort_keys=False))
    write_provenance(origin, out / "chosen.yaml")
