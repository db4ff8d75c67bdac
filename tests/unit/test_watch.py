"""Engines that neither answer nor die: noticed while requests are in flight."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from stages.engine import watch
from stages.engine.server import Engine
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit


class Process:
    """A server's process; `returncode`: None as long as it runs."""

    returncode: int | None = None
    pid = os.getpid()

    def poll(self) -> int | None:
        return self.returncode


class Server:
    """Health checks that can be told what to say."""

    def __init__(self) -> None:
        self.status, self.delay_s = 200, 0.0
        self.first: list[int] = []  # statuses, before `status`
        self.said_first = asyncio.Event()
        self.process = Process()

    async def health(self, _: web.Request) -> web.Response:
        await asyncio.sleep(self.delay_s)
        if self.first:
            return web.Response(status=self.first.pop(0))
        self.said_first.set()
        return web.Response(status=self.status)


Work = Callable[[Server, BaseTestServer], Awaitable[Any]]


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Work], Awaitable[Any]]:
    """Do some work beside a watched engine, which is looked at every hundredth of a second."""
    monkeypatch.setattr(watch, "EVERY_S", 0.01)
    monkeypatch.setattr(watch, "REPLY_WITHIN_S", 0.05)
    log = tmp_path / "engine-large.log"
    log.write_text("starting\nValueError: no room\n")

    async def run(work: Work) -> Any:
        async with served() as (server, http):
            url = str(http.make_url("/")).rstrip("/")
            engine = Engine("large", url, "key", cast("Any", server.process), log, drafts=False)
            async with watch.watched([engine]):
                return await asyncio.wait_for(work(server, http), 5)

    return run


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Server, BaseTestServer]]:
    server, app = Server(), web.Application()
    app.router.add_get("/health", server.health)
    async with TestServer(app) as http:
        yield server, http


async def dies(server: Server, _: BaseTestServer) -> None:
    server.process.returncode = -15
    await asyncio.sleep(60)


async def says_that_it_is_ill(server: Server, _: BaseTestServer) -> None:
    server.status = 503
    await asyncio.sleep(60)


async def listens_no_more(_: Server, http: BaseTestServer) -> None:
    await http.close()
    await asyncio.sleep(60)


async def is_silent(server: Server, _: BaseTestServer) -> None:
    server.delay_s = 60
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("work", "ailment"),
    [
        (dies, "exit code -15"),
        (says_that_it_is_ill, "/health: 503"),
        (listens_no_more, "/health: ClientConnectorError"),
        (is_silent, "/health: TimeoutError"),
    ],
)
async def test_an_engine_that_serves_no_more_ends_the_work_in_one_line(
    work: Work, ailment: str, during: Callable[[Work], Awaitable[Any]]
) -> None:
    with pytest.raises(UserError) as caught:
        await during(work)
    line = str(caught.value)
    assert line.startswith(f"engine 'large' serves no more ({ailment}, ValueError: no room); see ")
    assert line.endswith("engine-large.log. Finished answers are kept: run again to go on")


@pytest.fixture
def stopped_core() -> Iterator[int]:
    """A child process of the server that was stopped by a signal."""
    with subprocess.Popen(["sleep", "60"]) as core:
        core.send_signal(signal.SIGSTOP)
        yield core.pid
        core.kill()


async def test_a_server_whose_core_stands_still_serves_no_more(
    stopped_core: int, during: Callable[[Work], Awaitable[Any]]
) -> None:
    with pytest.raises(UserError, match=rf"no more \(process {stopped_core} is stopped, "):
        await during(lambda *_: asyncio.sleep(60))


@pytest.mark.parametrize("first", [[], [200] * 10, [503, 503, 200, 503, 503]])
async def test_a_healthy_engine_and_a_moment_of_illness_disturb_nothing(
    first: list[int], during: Callable[[Work], Awaitable[Any]]
) -> None:
    async def work(server: Server, _: BaseTestServer) -> str:
        server.first = first
        await server.said_first.wait()
        return "done"

    assert await during(work) == "done"


async def test_an_error_of_the_work_itself_comes_through(
    during: Callable[[Work], Awaitable[Any]],
) -> None:
    async def work(_: Server, __: BaseTestServer) -> None:
        raise UserError("the disk is full")

    with pytest.raises(UserError, match="the disk is full"):
        await during(work)
