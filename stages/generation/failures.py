"""What could not be had from the engines: named one by one, while the rest goes on."""

import logging
from dataclasses import dataclass, field

from stages.engine.client import RequestFailedError, RequestRefusedError
from stages.runtime.errors import UserError

GIVE_UP_AFTER = 20  # refusals, where nothing else came
NAMED = 10  # in the line at the end; the log names all
log = logging.getLogger(__name__)


@dataclass
class Failures:
    """The failures of a stage. `things`: what it asks for, in the plural."""

    label: str
    things: str
    names: list[str] = field(default_factory=list)
    first: str = ""
    refused: int = 0

    def add(self, name: str, error: RequestFailedError, n_done: int) -> None:
        """Note a failure, in the log too; `n_done`: how many were had until now.

        Raises UserError once it is clear that every request is refused.
        """
        log.warning("%s: %s: %s", self.label, name, error)
        self.first = self.first or str(error)
        self.names.append(name)
        self.refused += isinstance(error, RequestRefusedError)
        if not n_done and self.refused == len(self.names) == GIVE_UP_AFTER:
            raise UserError(f"{self.label}: every request is refused, the first: {self.first}")

    def check(self, n_asked: int) -> None:
        """Raise UserError if anything failed."""
        if not self.names:
            return
        named = "; ".join([*self.names[:NAMED], *["..."][: len(self.names) > NAMED]])
        again = f" ({self.refused} were refused: they would be again)" if self.refused else ""
        raise UserError(
            f"{self.label}: {len(self.names)} of {n_asked} {self.things} failed: {named} "
            f"(the first: {self.first}); run again to ask for these alone{again}"
        )
