"""Start, probe and stop vLLM's OpenAI-compatible servers.

Each server listens on 127.0.0.1 with its own key and ends with the process that started it: on
success, failure, Ctrl-C and SIGTERM through `running`, on SIGKILL through the kernel's parent-death
signal.
"""

import ctypes
import logging
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from stages.config import variables
from stages.config.schema import Engines
from stages.engine import compiler, gpus, models
from stages.engine.scratch import scratch
from stages.engine.spec import HOST, ROUTES, EngineSpec
from stages.runtime.errors import UserError
from stages.runtime.progress import tell

log = logging.getLogger(__name__)

PROBE_EVERY_S = 0.1
STOP_WITHIN_S = 15.0
PR_SET_PDEATHSIG = 1
OPEN_FILES = 128  # of a server without requests: 73 were seen on a CPU
# An error's own line in a log of vLLM: behind the name of a process, a level, a time and a place.
# What is wrong with a value stands in the next line.
ERROR = re.compile(
    r"^(?:\(\w+ pid=\d+\) )?(?:ERROR [-\d]+ [:\d]+ \[[^]]*\] )?"
    r"((?:[\w.]+(?:Error|Exception|Interrupt)\b|[\w.]+: error:).*(?:\n {2}\S.*)?)",
    re.MULTILINE,
)
# What an error says that has another for its cause: of vLLM's processes for one another, and of
# those that compute together once one of them has died.
ELSEWHERE = (
    *("root cause", "See stack trace"),
    *("closed by peer", "reset by peer", "Broken pipe", "DistBackendError: NCCL error"),
)
LONGEST_CAUSE = 300  # characters
PLUGIN = Path(__file__).resolve().parent / "plugin"


class PortTakenError(UserError):
    """A server died because another process had taken a port; the next try takes another."""


@dataclass(frozen=True)
class Engine:
    """A running server.

    `drafts`: whether it decodes speculatively. `routers`: what it routes tokens by.
    """

    role: str
    url: str
    key: str
    process: subprocess.Popen[bytes]
    log_file: Path
    drafts: bool
    routers: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Return whether the server process still runs."""
        return self.process.poll() is None

    @property
    def ended(self) -> str | None:
        """Return how the server process ended; None while it runs."""
        return None if self.alive else f"exit code {self.process.returncode}"

    @property
    def processes(self) -> list[psutil.Process]:
        """Return the server's process and all that it has started."""
        with suppress(psutil.NoSuchProcess):
            server = psutil.Process(self.process.pid)
            return [server, *server.children(recursive=True)]
        return []

    def lost(self, ailment: str | None = None) -> UserError:
        """Return what to raise once it serves no more; `ailment`: None for a process that ended."""
        said = "".join(f", {error}" for error in causes_in(self.log_file)[-1:])
        return UserError(
            f"engine '{self.role}' serves no more ({ailment or self.ended}{said}); "
            f"see {self.log_file}. Finished answers are kept: run again to go on"
        )


@contextmanager
def running(
    wanted: list[EngineSpec], engines: Engines, log_dir: Path
) -> Iterator[Mapping[str, Engine]]:
    """Start servers for `wanted`, yield {role: server}, and stop all of them.

    Servers start side by side, on one GPU one after another. Raises UserError as `prepared` does,
    and if a port is taken, or a server dies or is not ready in time.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    with prepared(wanted) as placed, ExitStack() as stack:
        begun = time.monotonic()
        ports = ports_of(placed, engines)
        roles = ", ".join(spec.role for spec in placed)
        tell(starting=roles)

        def begin(spec: EngineSpec) -> Engine:
            log_file = log_dir / f"engine-{spec.role}.log"
            return stack.enter_context(serving(spec, ports[spec.role], log_file))

        started: dict[str, Engine] = {}
        for turn in gpus.turns(placed):
            started |= {spec.role: begin(spec) for spec in turn}
            for spec in turn:
                try:
                    wait_ready(started[spec.role], begun + engines.start_timeout_s)
                except PortTakenError as error:
                    log.warning("%s; trying again", error)
                    started[spec.role] = begin(spec)
                    wait_ready(started[spec.role], begun + engines.start_timeout_s)
                check_routes(spec, started[spec.role].log_file)
        took = time.monotonic() - begun
        log.info("engines %s ready in %.0f s", roles, took)
        tell(ready=roles, seconds=took)
        yield started


def ports_of(placed: list[EngineSpec], engines: Engines) -> dict[str, int | None]:
    """Return {role: port} from `base_port` on; None for any free one."""
    first = engines.base_port
    return {spec.role: first and first + i for i, spec in enumerate(placed)}


@contextmanager
def prepared(wanted: list[EngineSpec]) -> Iterator[list[EngineSpec]]:
    """Yield `wanted` with the GPUs that they hold meanwhile. Models are fetched first.

    Raises UserError if a model or a compiler is missing, or GPUs or open files are too few.
    """
    check_open_files(wanted)
    for spec in wanted:
        models.check_folders(f"engine '{spec.role}'", spec.served)
        models.fetch_whole(spec.served)
    if any(spec.served.gpus for spec in wanted):
        compiler.check()
    with gpus.held(wanted) as placed:
        yield placed


def check_open_files(wanted: list[EngineSpec]) -> None:
    """Raise UserError if a process may not open as many files as a server does.

    What a server says then names another cause.
    """
    needed = OPEN_FILES + sum(spec.concurrency for spec in wanted)
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed < needed:
        raise UserError(
            f"a process may open {allowed} files here (ulimit -n), engines need {needed}: raise it"
        )


@contextmanager
def serving(spec: EngineSpec, port: int | None, log_file: Path) -> Iterator[Engine]:
    """Start one server, yield it at once, and stop it; `port`: None for any free one."""
    with reserved(port) as own_port, scratch() as folder:
        engine = start(spec, own_port, log_file, folder)
        try:
            yield engine
        finally:
            stop(engine)


@contextmanager
def reserved(wanted: int | None) -> Iterator[int]:
    """Yield `wanted`, or any free port for None, which nobody else is given meanwhile.

    The port is bound here, and by the server once more: Linux allows it to sockets with
    SO_REUSEADDR, as the server's is, while only one listens. Raises UserError if `wanted` is taken.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((HOST, wanted or 0))
        except OSError as error:
            raise UserError(
                f"port {wanted} on {HOST} is taken; change engines.base_port (null: any free port)"
            ) from error
        yield holder.getsockname()[1]


def command(spec: EngineSpec, port: int) -> list[str]:
    """Return the command line of a server; its key is passed in the environment."""
    # Only vLLM for CPUs has the kernel that stages.engine.serve fixes.
    module = "vllm.entrypoints.openai.api_server" if spec.served.gpus else "stages.engine.serve"
    return [sys.executable, "-m", module, *spec.flags, "--host", HOST, "--port", str(port)]


def start(spec: EngineSpec, port: int, log_file: Path, folder: Path) -> Engine:
    """Start one server in a new process group; its output goes to `log_file`.

    `folder`: for its temporary files, and for the sockets between its processes.
    """
    key = secrets.token_hex(16)
    own = {"VLLM_API_KEY": key, "TMPDIR": str(folder), "VLLM_RPC_BASE_PATH": str(folder)}
    if spec.routers:
        own["PYTHONPATH"] = with_plugin(os.environ.get("PYTHONPATH", ""))
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            command(spec, port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited(), **spec.environment, **own},
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    drafts = spec.served.speculation is not None
    url = f"http://{HOST}:{port}"
    return Engine(spec.role, url, key, process, log_file, drafts, spec.routers)


def with_plugin(path: str) -> str:
    """Return a PYTHONPATH on which vLLM finds the plugin that routes tokens, and this project."""
    return os.pathsep.join([str(PLUGIN), str(PLUGIN.parents[2]), *filter(None, [path])])


def check_routes(spec: EngineSpec, log_file: Path) -> None:
    """Raise UserError unless an engine that is to route tokens has said that it can."""
    if spec.routers and ROUTES not in log_file.read_text("utf-8", errors="replace"):
        raise UserError(
            f"engine '{spec.role}' cannot route tokens: it runs without the plugin in {PLUGIN}; "
            f"see {log_file}"
        )


def inherited() -> dict[str, str]:
    """Return this process's variables, less those that engines get from params.yaml alone."""
    return {name: os.environ[name] for name in os.environ if not variables.of_engines(name)}


def die_with_parent() -> None:
    """Have the kernel terminate this child when its parent dies, however it dies (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_ready(engine: Engine, deadline: float) -> None:
    """Wait until the server answers. `deadline`: on the monotonic clock.

    Raises UserError if the server dies, PortTakenError if of a port, or the deadline passes.
    """
    # No proxy of the environment stands before 127.0.0.1.
    with httpx.Client(base_url=engine.url, timeout=1, trust_env=False) as client:
        while time.monotonic() < deadline:
            if not engine.alive:
                died = PortTakenError if port_was_taken(engine.log_file) else UserError
                raise died(
                    f"engine '{engine.role}' died while starting (exit code "
                    f"{engine.process.returncode}): {last_error(engine.log_file)}; "
                    f"see {engine.log_file}"
                )
            if is_healthy(client):
                return
            time.sleep(PROBE_EVERY_S)
    raise UserError(
        f"engine '{engine.role}' was not ready in time (engines.start_timeout_s); "
        f"see {engine.log_file}"
    )


def port_was_taken(log_file: Path) -> bool:
    """Return whether a server found one of its ports taken, its own or one between processes."""
    return "address already in use" in log_file.read_text("utf-8", errors="replace").lower()


def is_healthy(client: httpx.Client) -> bool:
    """Return whether the server answers that it is ready."""
    try:
        return client.get("/health").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def last_error(log_file: Path) -> str:
    """Return the cause of a failure by a server's log, its last line if it names none."""
    lines = log_file.read_text("utf-8", errors="replace").splitlines() or ["no output"]
    return (causes_in(log_file) or lines)[-1].strip()[:LONGEST_CAUSE]


def causes_in(log_file: Path) -> list[str]:
    """Return the errors in a server's log, without those that only say that there was another."""
    text = log_file.read_text("utf-8", errors="replace")
    errors = [" ".join(error.split())[:LONGEST_CAUSE] for error in ERROR.findall(text)]
    return [error for error in errors if not any(words in error for words in ELSEWHERE)]


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
