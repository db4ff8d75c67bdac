"""Show progress: a bar on a terminal, lines in the log."""

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

log = logging.getLogger(__name__)
LOG_EVERY_S = 10.0


class Progress:
    """Progress of a stage: answers finished, tokens per second, time left."""

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self.tokens = 0
        self.started = self.logged = time.monotonic()
        self.bar = tqdm(
            total=total,
            initial=done,
            desc=label,
            unit="answer",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        log.info("%s: %d of %d done before", label, done, total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()
        self._log()

    def step(self, n_tokens: int) -> None:
        """Count one more answer, of `n_tokens` tokens."""
        self.done += 1
        self.tokens += n_tokens
        self.bar.set_postfix_str(f"{self.rate:.0f} tokens/s", refresh=False)
        self.bar.update()
        if time.monotonic() - self.logged > LOG_EVERY_S:
            self._log()

    @property
    def rate(self) -> float:
        """Return the tokens per second since the start."""
        return self.tokens / max(1e-9, time.monotonic() - self.started)

    def _log(self) -> None:
        self.logged = time.monotonic()
        log.info("%s: %d of %d, %.0f tokens/s", self.label, self.done, self.total, self.rate)
