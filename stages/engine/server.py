"""Start, probe and stop vLLM's OpenAI-compatible servers.

Servers listen on 127.0.0.1 with a key of their own and die with the process that started them: on
success, failure, Ctrl-C and SIGTERM through `running`, on SIGKILL through the kernel's parent-death
signal.
"""

import ctypes
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from pathlib import Path

import httpx

from stages.config.schema import Engines, Model, Pair
from stages.engine import models
from stages.runtime.errors import UserError

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
MODEL_NAME = "model"
KEEP_ALIVE_S = 600  # a connection waits for its next request as long; vLLM's own limit is 5
MAX_STOP_STRINGS = 128  # vLLM's own limit is 4; a relay sends every cue
PROBE_EVERY_S = 0.1
STOP_WITHIN_S = 15.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class EngineSpec:
    """One server: what it serves and the limits that its requests need.

    `concurrency`: requests in flight. `gpu_memory`: the share of each card that it takes. `cards`:
    those it runs on, as CUDA_VISIBLE_DEVICES names them; none before it is placed, or on a CPU.
    """

    role: str
    served: Model
    dtype: str
    max_model_len: int
    concurrency: int
    cpu_threads: int
    kv_cache_gib: int
    gpu_memory: float
    prefix_caching: bool = True
    cards: tuple[str, ...] = ()

    @property
    def flags(self) -> list[str]:
        """The server's arguments, without port and key."""
        caching = "--enable-prefix-caching" if self.prefix_caching else "--no-enable-prefix-caching"
        # The tokenizer's revision is the model's, unless told otherwise.
        revision = ["--revision", self.served.revision] if self.served.revision else []
        return [
            *("--model", self.served.model, *revision, "--served-model-name", MODEL_NAME),
            *("--dtype", self.dtype, "--max-model-len", str(self.max_model_len)),
            *("--max-num-seqs", str(self.concurrency)),
            *(self._on_gpus if self.served.gpus else self._on_cpu),
            caching,
            *self._speculation,
            "--enable-prompt-tokens-details",
            "--enable-scale-out",  # the endpoint that takes and gives token ids
            # A chat that is handed over as text is one message: prompt and answer so far.
            *("--chat-template", "{{ messages[0].content }}"),
            "--disable-uvicorn-access-log",
        ]

    @property
    def _on_gpus(self) -> list[str]:
        """Arguments on GPUs: as in the paper, vLLM's own choice for all else."""
        return [
            *("--tensor-parallel-size", str(self.served.gpus)),
            *("--gpu-memory-utilization", str(self.gpu_memory)),
        ]

    @property
    def _on_cpu(self) -> list[str]:
        """Arguments on a CPU."""
        return [
            # A prompt that is prefilled in parts breaks seeded sampling on vLLM's CPU engine.
            "--no-enable-chunked-prefill",
            *("--max-num-batched-tokens", str(max(8192, self.max_model_len))),
            *("--block-size", "32", "--enforce-eager"),
            # No worker process of its own: two hops less a token, and a start less.
            *("--distributed-executor-backend", "uni"),
        ]

    @property
    def _speculation(self) -> list[str]:
        """The draft head's argument, if there is one."""
        if not self.served.draft:
            return []
        config = {
            "method": "eagle3",
            "model": self.served.draft,
            "num_speculative_tokens": self.served.draft_tokens,
        }
        if self.served.draft_revision:
            config["revision"] = self.served.draft_revision
        return ["--speculative-config", json.dumps(config)]

    @property
    def environment(self) -> dict[str, str]:
        """The server's environment variables."""
        shared = {
            "VLLM_MAX_STOP_STRINGS": str(MAX_STOP_STRINGS),
            "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE_S),
            "VLLM_NO_USAGE_STATS": "1",
        }
        if not self.served.on_hub:
            shared["HF_HUB_OFFLINE"] = "1"
        if self.served.gpus:
            return {**shared, "CUDA_VISIBLE_DEVICES": ",".join(self.cards)}
        return {
            **shared,
            # Without it the CPU platform turns `uni` back into worker processes.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            # PyTorch takes MKL's number where there is one, and Snakemake sets it to the rule's
            # threads: engines that spin for each other's cores are several times slower.
            "OMP_NUM_THREADS": str(self.cpu_threads),
            "MKL_NUM_THREADS": str(self.cpu_threads),
            "VLLM_CPU_KVCACHE_SPACE": str(self.kv_cache_gib),
            # `--enforce-eager` leaves functions that torch compiles by itself, with a C++ compiler
            # that the machine or image may not have.
            "TORCHDYNAMO_DISABLE": "1",
        }


@dataclass(frozen=True)
class Engine:
    """A running server."""

    role: str
    url: str
    key: str
    process: subprocess.Popen[bytes]
    log_file: Path
    drafts: bool

    @property
    def alive(self) -> bool:
        """Whether the server process still runs."""
        return self.process.poll() is None


def specs(
    pair: Pair,
    engines: Engines,
    roles: tuple[str, ...],
    concurrency: int,
    prefix_caching: bool = True,
) -> list[EngineSpec]:
    """A spec for each role."""
    return [
        EngineSpec(
            role=role,
            served=pair.engines[role],
            dtype=pair.dtype,
            max_model_len=pair.max_model_len,
            concurrency=concurrency,
            cpu_threads=engines.cpu_threads,
            kv_cache_gib=engines.kv_cache_gib,
            gpu_memory=engines.gpu_memory,
            prefix_caching=prefix_caching,
        )
        for role in dict.fromkeys(roles)
    ]


def placed(wanted: Sequence[EngineSpec], cards: Sequence[str]) -> list[EngineSpec]:
    """The specs with the cards that each runs on."""
    places = place(wanted, cards)
    return [replace(spec, cards=places[spec.role]) for spec in wanted]


def place(wanted: Sequence[EngineSpec], cards: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """{role: its cards}: in order, none shared. UserError if there are too few."""
    needed = sum(spec.served.gpus for spec in wanted)
    if needed > len(cards):
        each = ", ".join(f"{spec.role} {spec.served.gpus}" for spec in wanted)
        raise UserError(
            f"the engines need {needed} GPUs ({each}), there are {len(cards)}; "
            "CUDA_VISIBLE_DEVICES, where it is set, names those that may be used"
        )
    free = iter(cards)
    return {spec.role: tuple(islice(free, spec.served.gpus)) for spec in wanted}


def visible_cards() -> list[str]:
    """The cards that this process may use: a scheduler's choice, or all of the machine."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(i) for i in range(count_cards())]
    # CUDA, too, reads no further than to a name that is no card.
    return list(takewhile(lambda card: card not in ("", "-1"), map(str.strip, given.split(","))))


def count_cards() -> int:
    """The machine's NVIDIA cards; none without their driver."""
    command = ["nvidia-smi", "--list-gpus"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


@contextmanager
def running(
    wanted: list[EngineSpec], engines: Engines, log_dir: Path
) -> Iterator[Mapping[str, Engine]]:
    """Servers for `wanted`, started side by side; all stopped on the way out, whatever happened.

    Raises UserError with one line if a model folder is missing, GPUs are too few, a port is taken,
    or a server dies or is not ready in time.
    """
    for spec in wanted:
        models.check_folders(f"engine '{spec.role}'", spec.served)
    if any(spec.served.gpus for spec in wanted):
        wanted = placed(wanted, visible_cards())
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
    """`wanted` if it is free, any free port for None."""
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
    """The whole command line of a server; its key is in the environment."""
    # Only vLLM for CPUs has the kernel that stages.engine.serve mends.
    module = "vllm.entrypoints.openai.api_server" if spec.served.gpus else "stages.engine.serve"
    return [sys.executable, "-m", module, *spec.flags, "--host", HOST, "--port", str(port)]


def start(spec: EngineSpec, port: int, log_file: Path) -> Engine:
    """Start one server in a process group of its own; its output goes to `log_file`."""
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
    """In the child: be terminated by the kernel when the parent dies, however it dies (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_ready(engine: Engine, deadline: float) -> None:
    """Return when the server answers; `deadline` is on the monotonic clock."""
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
    """The last line of a server's log that names an error."""
    lines = log_file.read_text(errors="replace").splitlines()
    errors = [line for line in lines if "Error" in line or "error:" in line]
    return (errors or lines or ["no output"])[-1].strip()[-300:]


def stop(engine: Engine) -> None:
    """End the server and all its processes: politely, then by force."""
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
    """Whether every process of the group is gone within `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        process.poll()  # reap the leader, or the group never empties
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
