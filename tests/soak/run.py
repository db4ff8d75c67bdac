"""Send requests, leave some, kill engines, and look at what stays."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import openai
import psutil

from tests.end_to_end.conftest import wait_for_none
from tests.end_to_end.test_serving import CHAT, KEY, METHODS, Server, engine_of

AT_ONCE = 32
LEFT_SHARE = 0.2
RETRIES = 5  # of the client, after as long as a 503 says
ENDS_WITHIN_S = 120.0


@dataclass
class Soak:
    """What became of the requests. `memory_mb`, `files`: of the server, early and at the end."""

    outcomes: Counter[str] = field(default_factory=Counter)
    memory_mb: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    running: float = 0.0

    def look(self, server: Server) -> None:
        """Note what the server takes."""
        self.memory_mb.append(server.process.memory_info().rss / 2**20)
        self.files.append(server.process.num_fds())


async def soak(server: Server, n: int, seed: int) -> Soak:
    """Send `n` requests; both engines are killed once."""
    random, found = Random(seed), Soak()
    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=RETRIES)
    limit = asyncio.Semaphore(AT_ONCE)
    kills = {n // 3: "large", 2 * n // 3: "small"}

    async def one(number: int, fate: Random) -> None:
        async with limit:
            if role := kills.get(number):
                with suppress(psutil.Error, StopIteration):
                    engine_of(server, role).kill()
            if number == n // 10:
                found.look(server)
            found.outcomes[await outcome(client, number, fate)] += 1

    await asyncio.gather(*(one(number, Random(random.random())) for number in range(n)))
    await client.close()
    await asyncio.to_thread(wait_for_none, lambda: running(server), 10)
    found.look(server)
    found.running = server.metric("relaygen_running") + server.metric("relaygen_waiting")
    return found


def running(server: Server) -> list[str]:
    """Answers that are still written."""
    return ["an answer"] if server.metric("relaygen_running") else []


async def outcome(client: openai.AsyncOpenAI, number: int, fate: Random) -> str:
    """What becomes of one request: finished, left by its client, or refused and why."""
    asked: dict[str, Any] = {**CHAT, "model": fate.choice(METHODS), "seed": number}
    asking = streamed(client, asked) if number % 2 else whole(client, asked)
    leaves = fate.random() < LEFT_SHARE
    try:
        async with asyncio.timeout(fate.uniform(0.01, 1) if leaves else ENDS_WITHIN_S):
            return await asking
    except TimeoutError:
        return "left" if leaves else "no end"
    except openai.APIError as error:
        return f"refused: {getattr(error, 'status_code', 'in the stream')}"


async def whole(client: openai.AsyncOpenAI, asked: dict[str, Any]) -> str:
    """How a whole answer ended."""
    reply = await client.chat.completions.create(**asked)
    return str(reply.choices[0].finish_reason)


async def streamed(client: openai.AsyncOpenAI, asked: dict[str, Any]) -> str:
    """How a stream ended."""
    end = "no finish_reason"
    async with await client.chat.completions.create(stream=True, **asked) as stream:
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].finish_reason:
                end = chunk.choices[0].finish_reason
    return end
