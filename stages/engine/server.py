"""Start, probe and stop vLLM's OpenAI-compatible servers.

Each server listens on 127.0.0.1 with its own key and ends with the process that started it: on
success, failure, Ctrl-C and SIGTERM through `running`, on SIGKILL through the kernel's parent-death
signal.
"""

import ctypes
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from stages.config.schema import Engines
from stages.engine import models
from stages.engine.gpus import visible_gpus, with_gpus
from stages.engine.spec import HOST, EngineSpec
from stages.runtime.errors import UserError

log = logging.getLogger(__name__)

PROBE_EVERY_S = 0.1
STOP_WITHIN_S = 15.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Engine:
    """A running server; `drafts`: whether it has a draft head."""

    role: str
    url: str
    key: str
    process: subprocess.Popen[bytes]
    log_file: Path
    drafts: bool

    @property
    def alive(self) -> bool:
        """Return whether the server process still runs."""
        return self.process.poll() is None


@contextmanager
def running(
    wanted: list[EngineSpec], engines: Engines, log_dir: Path
) -> Iterator[Mapping[str, Engine]]:
    """Start servers for `wanted` side by side, yield {role: server}, and stop all of them.

    Raises UserError if a model folder is missing, GPUs are too few, a port is taken, or a server
    dies or is not ready in time.
    """
    for spec in wanted:
        models.check_folders(f"engine '{spec.role}'", spec.served)
    if any(spec.served.gpus for spec in wanted):
        wanted = with_gpus(wanted, visible_gpus())
    log_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        started: dict[str, Engine] = {}
        for i, spec in enumerate(wanted):
            port = free_port(engines.base_port and engines.base_port + i)
            engine = start(spec, port, log_dir / f"engine-{spec.role}.log")
            stack.callback(stop, engine)
            started[spec.role] = engine
        begun = time.monotonic()
        for engine in started.values():
            wait_ready(engine, begun + engines.start_timeout_s)
        log.info("engines %s ready in %.0f s", ", ".join(started), time.monotonic() - begun)
        yield started


def free_port(wanted: int | None) -> int:
    """Return `wanted`, or any free port for None; UserError if `wanted` is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except OSError as error:
            raise UserError(
                f"port {wanted} on {HOST} is taken; change engines.base_port (null: any free port)"
            ) from error
        port: int = probe.getsockname()[1]
        return port


def command(spec: EngineSpec, port: int) -> list[str]:
    """Return the command line of a server; its key is passed in the environment."""
    # Only vLLM for CPUs has the kernel that stages.engine.serve fixes.
    module = "vllm.entrypoints.openai.api_server" if spec.served.gpus else "stages.engine.serve"
    return [sys.executable, "-m", module, *spec.flags, "--host", HOST, "--port", str(port)]


def start(spec: EngineSpec, port: int, log_file: Path) -> Engine:
    """Start one server in a new process group; its output goes to `log_file`."""
    key = secrets.token_hex(16)
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            command(spec, port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **spec.environment, "VLLM_API_KEY": key},
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    drafts = spec.served.draft is not None
    return Engine(spec.role, f"http://{HOST}:{port}", key, process, log_file, drafts)


def die_with_parent() -> None:
    """Have the kernel terminate this child when its parent dies, however it dies (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_ready(engine: Engine, deadline: float) -> None:
    """Wait until the server answers. `deadline`: on the monotonic clock.

    Raises UserError if the server dies or the deadline passes.
    """
    while time.monotonic() < deadline:
        if not engine.alive:
            raise UserError(
                f"engine '{engine.role}' died while starting (exit code "
                f"{engine.process.returncode}): {last_error(engine.log_file)}; "
                f"see {engine.log_file}"
            )
        try:
            if httpx.get(f"{engine.url}/health", timeout=1).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(PROBE_EVERY_S)
    raise UserError(
        f"engine '{engine.role}' was not ready in time (engines.start_timeout_s); "
        f"see {engine.log_file}"
    )


def last_error(log_file: Path) -> str:
    """Return the last line of a server's log that names an error, at most 300 characters."""
    lines = log_file.read_text(errors="replace", encoding="utf-8").splitlines()
    errors = [line for line in lines if "Error" in line or "error:" in line]
    return (errors or lines or ["no output"])[-1].strip()[-300:]


def stop(engine: Engine) -> None:
    """End the server and all its processes, by SIGTERM and, if that fails, by SIGKILL."""
    group = engine.process.pid
    for sign, patience in ((signal.SIGTERM, STOP_WITHIN_S), (signal.SIGKILL, STOP_WITHIN_S)):
        try:
            os.killpg(group, sign)
        except ProcessLookupError:
            break
        if wait_gone(engine.process, group, patience):
            break
    engine.process.wait()


def wait_gone(process: subprocess.Popen[bytes], group: int, patience: float) -> bool:
    """Return whether every process of the group is gone within `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        process.poll()  # reaps the leader; otherwise the group never empties
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
