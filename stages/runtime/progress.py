"""Show progress: a bar on a terminal, lines in the log, and events for `relaygen run`."""

import json
import logging
import os
import sys
import time
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

log = logging.getLogger(__name__)
LOG_EVERY_S = 10.0
TELL_EVERY_S = 0.5
LISTENED_TO = "RELAYGEN_LISTENED_TO"  # a variable that `relaygen run` sets for its jobs
MARK = "\x1erelaygen "  # what lines with events begin with


def tell(**event: Any) -> None:
    """Tell `relaygen run` what goes on, on standard error; do nothing without it."""
    if os.environ.get(LISTENED_TO):
        sys.stderr.write(f"{MARK}{json.dumps(event)}\n")
        sys.stderr.flush()


class Progress:
    """Progress of a stage: answers finished, tokens per second, time left."""

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self.tokens = 0
        self.started = self.logged = self.told = time.monotonic()
        self.begun = time.time()
        self.bar = tqdm(
            total=total,
            initial=done,
            desc=label,
            unit="answer",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        log.info("%s: %d of %d done before", label, done, total)
        self._tell()

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
        self._tell()

    def step(self, n_tokens: int) -> None:
        """Count one more answer, of `n_tokens` tokens."""
        self.done += 1
        self.tokens += n_tokens
        self.bar.set_postfix_str(f"{self.rate:.0f} tokens/s", refresh=False)
        self.bar.update()
        if time.monotonic() - self.logged > LOG_EVERY_S:
            self._log()
        if time.monotonic() - self.told > TELL_EVERY_S:
            self._tell()

    @property
    def rate(self) -> float:
        """Return the tokens per second since the start."""
        return self.tokens / max(1e-9, time.monotonic() - self.started)

    def _log(self) -> None:
        self.logged = time.monotonic()
        log.info("%s: %d of %d, %.0f tokens/s", self.label, self.done, self.total, self.rate)

    def _tell(self) -> None:
        self.told = time.monotonic()
        tell(
            job=self.label,
            done=self.done,
            total=self.total,
            tokens=self.tokens,
            begun=self.begun,
            now=time.time(),
        )
