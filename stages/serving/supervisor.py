"""Keep a pair's engines up: start them, notice when one is gone, and start it again."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from stages.config.schema import Engines, Infer
from stages.engine import server
from stages.engine.client import Client
from stages.engine.server import PortTakenError
from stages.engine.spec import EngineSpec
from stages.engine.watch import until_gone
from stages.runtime.errors import UserError
from stages.serving.errors import ApiError
from stages.serving.metrics import Metrics
from stages.serving.streaming import StreamingClient

log = logging.getLogger(__name__)
LONGEST_PAUSE_S = 60.0
STEADY_S = 300.0  # an engine that served this long starts again without a pause
RETRY_AFTER_S = 10
Result = TypeVar("Result")


class Kept(ABC):
    """One engine that is kept up. `client`: None while it is stopped or starting."""

    streaming: type[StreamingClient] = StreamingClient  # its clients of one answer

    def __init__(self, role: str, metrics: Metrics) -> None:
        self.role, self.metrics = role, metrics
        self.client: Client | None = None
        self.stack = AsyncExitStack()

    @property
    def up(self) -> bool:
        """Return whether it serves, as far as is known."""
        return self.client is not None and self.client.engine.ended is None

    def connected(self) -> Client:
        """Return its client; ApiError while it is down."""
        if self.client is None or not self.up:
            raise ApiError(
                f"engine '{self.role}' is starting again",
                HTTPStatus.SERVICE_UNAVAILABLE,
                retry_after_s=RETRY_AFTER_S,
            )
        return self.client

    @abstractmethod
    async def reach(self) -> Client:
        """Return a client of the engine once it is ready; UserError if it does not become so."""

    async def start(self) -> None:
        """Start or find the engine; UserError if it does not become ready."""
        try:
            self.client = await self.stack.enter_async_context(await self.reach())
        except BaseException:
            await self.stop()
            raise
        self.metrics.engine_up.labels(self.role).set(1)

    async def stop(self) -> None:
        """Stop the engine, or leave it alone where it is not ours."""
        self.client = None
        self.metrics.engine_up.labels(self.role).set(0)
        await self.stack.aclose()

    async def keep(self) -> None:
        """Start the engine again whenever it is gone; runs until it is cancelled."""
        pause_s = 0.0
        while True:
            since = time.monotonic()
            try:
                if self.client is None:
                    await self.start()
                await until_gone(self.connected().engine)
            except (UserError, ApiError) as error:
                log.error("%s", error)
            await self.stop()
            self.metrics.restarts.labels(self.role).inc()
            steady = time.monotonic() - since > STEADY_S
            pause_s = 0.0 if steady else min(LONGEST_PAUSE_S, 2 * pause_s + 1)
            await asyncio.sleep(pause_s)


class Supervised(Kept):
    """An engine of this process's own."""

    def __init__(
        self,
        spec: EngineSpec,
        port: int | None,
        engines: Engines,
        infer: Infer,
        logs: Path,
        metrics: Metrics,
    ) -> None:
        super().__init__(spec.role, metrics)
        self.spec, self.port, self.engines, self.infer = spec, port, engines, infer
        self.log_file = logs / f"engine-{spec.role}.log"
        # Linux ends a server with the thread that started it: the thread has to stay.
        self.thread = ThreadPoolExecutor(1, f"engine-{spec.role}")

    async def reach(self) -> Client:
        """Start the engine and wait until it is ready, a second time if its port was taken."""
        try:
            return await self._started()
        except PortTakenError as error:
            log.warning("%s; trying again", error)
            await self.stop()
            return await self._started()

    async def _started(self) -> Client:
        """Start the engine and wait until it is ready."""
        servers = ExitStack()
        self.stack.push_async_callback(self._in_thread, servers.close)
        serving = server.serving(self.spec, self.port, self.log_file)
        engine = await self._in_thread(partial(servers.enter_context, serving))
        deadline = time.monotonic() + self.engines.start_timeout_s
        await self._in_thread(partial(server.wait_ready, engine, deadline))
        server.check_routes(self.spec, self.log_file)
        return Client(engine, None, self.infer)

    async def _in_thread(self, call: Callable[[], Result]) -> Result:
        """Run something that blocks in this engine's own thread, to its end."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, call)


async def start_all(kept: Sequence[Kept]) -> None:
    """Start engines side by side; if one does not come up, stop all and raise its UserError."""
    begun = await asyncio.gather(*(one.start() for one in kept), return_exceptions=True)
    for error in filter(None, begun):
        await stop_all(kept)
        raise error


async def stop_all(kept: Sequence[Kept]) -> None:
    """Stop engines side by side."""
    await asyncio.gather(*(one.stop() for one in kept))
