"""Notice engines that neither answer nor die, while requests are in flight."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import aiohttp
import psutil

from stages.engine.client import Server

EVERY_S = 2.0
REPLY_WITHIN_S = 20.0  # long: a server that puts many margins into JSON does nothing else meanwhile
STRIKES = 3  # in a row


@asynccontextmanager
async def watched(engines: Iterable[Server]) -> AsyncIterator[None]:
    """Cancel what runs inside, and raise UserError, once an engine has died or serves no more."""
    try:
        async with asyncio.TaskGroup() as group:
            guards = [group.create_task(until_gone(engine)) for engine in engines]
            yield
            for guard in guards:
                guard.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def until_gone(engine: Server) -> None:
    """Raise UserError once the engine has died, or is not well again and again."""
    strikes, processes = 0, engine.processes
    timeout = aiohttp.ClientTimeout(REPLY_WITHIN_S)
    async with aiohttp.ClientSession(engine.url, timeout=timeout) as http:
        while strikes < STRIKES:
            await asyncio.sleep(EVERY_S)
            ailment = await ailment_of(engine, http) or standstill(processes)
            strikes = strikes + 1 if ailment else 0
    raise engine.lost(ailment)


async def ailment_of(engine: Server, http: aiohttp.ClientSession) -> str | None:
    """Return what is wrong with an engine, None if nothing is."""
    if engine.ended:
        return engine.ended
    try:
        async with http.get("/health") as reply:
            return None if reply.status == HTTPStatus.OK else f"/health: {reply.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"/health: {type(error).__name__}"


def standstill(processes: Iterable[psutil.Process]) -> str | None:
    """Return which process was stopped by a signal, None if none was.

    The server calls itself healthy while the core behind it stands still.
    """
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() == psutil.STATUS_STOPPED:
                return f"process {process.pid} is stopped"
    return None
