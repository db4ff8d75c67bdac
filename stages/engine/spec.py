"""What one vLLM server is started with: its model, limits, flags and environment.

Answers are keyed by the code that asks for them, which imports this module: it imports nothing of
the project at run time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from stages.config.schema import Engines, Model

HOST = "127.0.0.1"
MODEL_NAME = "model"
KEEP_ALIVE_S = 600  # how long a connection waits for its next request; vLLM's default is 5
GPU_DEFAULTS = {
    # vLLM's own default compiles FlashInfer's sampler at the start, for which it needs a CUDA
    # toolkit. Requests with a seed never use it.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi counts
}
MAX_STOP_STRINGS = 128  # vLLM's default is 4; a relay sends every cue
ROUTERS = "RELAYGEN_ROUTERS"  # the variable that names an engine's routers, as a list in JSON
ROUTES = "Tokens can be routed by:"  # what an engine with routers says once they are loaded


@dataclass(frozen=True)
class EngineSpec:
    """One server: what it serves and the limits that its requests need.

    `concurrency`: requests in flight. `gpu_memory`: the share of each GPU's memory that it takes.
    `env`: variables of vLLM and NCCL. `gpu_ids`: its GPUs, as CUDA_VISIBLE_DEVICES names them;
    empty on a CPU, and before GPUs are assigned. `routers`: what decides on tokens that another
    model is to write (stages.engine.routing).
    """

    role: str
    served: Model
    dtype: str
    max_model_len: int
    concurrency: int
    cpu_threads: int
    kv_cache_gib: int
    gpu_memory: float
    env: Mapping[str, str]
    prefix_caching: bool = True
    gpu_ids: tuple[str, ...] = ()
    routers: tuple[str, ...] = ()

    def shape(self) -> dict[str, Any]:
        """Return what can change what the engine writes.

        Limits of the machine (concurrency, threads, memory, GPU ids) are not in it.
        """
        return {
            **self.served.model_dump(
                exclude={"gpu_memory"} | ({"args"} if not self.served.args else set())
            ),
            "env": dict(self.env),
            "dtype": self.dtype,
            "max_model_len": self.max_model_len,
            "prefix_caching": self.prefix_caching,
        }

    @property
    def flags(self) -> list[str]:
        """Return the server's arguments, without port and key."""
        caching = "--enable-prefix-caching" if self.prefix_caching else "--no-enable-prefix-caching"
        # vLLM takes the tokenizer from the same revision.
        revision = ["--revision", self.served.revision] if self.served.revision else []
        return [
            *("--model", self.served.model, *revision, "--served-model-name", MODEL_NAME),
            *("--dtype", self.dtype, "--max-model-len", str(self.max_model_len)),
            *("--max-num-seqs", str(self.concurrency)),
            *(self._on_gpus if self.served.gpus else self._on_cpu),
            caching,
            *self._speculation,
            "--enable-prompt-tokens-details",
            "--enable-scale-out",  # the endpoint that takes and returns token ids
            *("--middleware", "stages.engine.gate.Gate"),
            # A text hand-off sends one message, which holds the prompt and the answer so far.
            *("--chat-template", "{{ messages[0].content }}"),
            "--disable-uvicorn-access-log",
            *self._given,  # the last one counts
        ]

    @property
    def _on_gpus(self) -> list[str]:
        """Return the arguments for GPUs; the paper leaves all others at vLLM's defaults."""
        return [
            *("--tensor-parallel-size", str(self.served.gpus)),
            *("--gpu-memory-utilization", str(self.gpu_memory)),
        ]

    @property
    def _on_cpu(self) -> list[str]:
        """Return the arguments for a CPU."""
        return [
            # Chunked prefill breaks seeded sampling on vLLM's CPU engine.
            "--no-enable-chunked-prefill",
            *("--max-num-batched-tokens", str(max(8192, self.max_model_len))),
            *("--block-size", "32", "--enforce-eager"),
            # In the engine's own process: no message to a worker per token, one start less.
            *("--distributed-executor-backend", "uni"),
        ]

    @property
    def _speculation(self) -> list[str]:
        """Return the arguments for speculative decoding; empty without it."""
        if not self.served.speculation:
            return []
        config = self.served.speculation.model_dump(exclude_none=True)
        config["num_speculative_tokens"] = config.pop("tokens")
        drafts = ["--speculative-config", json.dumps(config)]
        return [*drafts, "--per-request-spec-decode-metrics", "detailed"]

    @property
    def _given(self) -> list[str]:
        """Return the arguments that params.yaml adds."""
        return [part for name, value in self.served.args.items() for part in argument(name, value)]

    @property
    def environment(self) -> dict[str, str]:
        """Return the server's environment variables, without its key."""
        shared = {
            "VLLM_MAX_STOP_STRINGS": str(MAX_STOP_STRINGS),
            "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE_S),
            "VLLM_NO_USAGE_STATS": "1",
            "PYTHONUTF8": "1",  # whatever the locale
        }
        if not self.served.on_hub:
            shared["HF_HUB_OFFLINE"] = "1"
        if self.routers:
            # Routing is made for the runner of vLLM that its other one is to replace some day.
            shared |= {ROUTERS: json.dumps(self.routers), "VLLM_USE_V2_MODEL_RUNNER": "0"}
        if self.served.gpus:
            return {**GPU_DEFAULTS, **self.env, **shared, **self._gpu_env}
        return {**self.env, **shared, **self._cpu_env}

    @property
    def _gpu_env(self) -> dict[str, str]:
        """Return the variables of a server on GPUs."""
        return {
            "CUDA_VISIBLE_DEVICES": ",".join(self.gpu_ids),
            # Snakemake sets the job's threads, which each process of each engine would take.
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "NUMBA_NUM_THREADS": "1",
        }

    @property
    def _cpu_env(self) -> dict[str, str]:
        """Return the variables of a server on a CPU."""
        return {
            # Otherwise the CPU platform replaces the executor `uni` by worker processes.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            # PyTorch prefers MKL's setting, and Snakemake sets that to the rule's threads. Engines
            # that compete for the same cores are several times slower.
            "OMP_NUM_THREADS": str(self.cpu_threads),
            "MKL_NUM_THREADS": str(self.cpu_threads),
            # Speculation by n-grams loads Numba, which gives PyTorch a thread per core.
            "NUMBA_NUM_THREADS": str(self.cpu_threads),
            "VLLM_CPU_KVCACHE_SPACE": str(self.kv_cache_gib),
            # In spite of `--enforce-eager` torch compiles some functions, which takes a C++
            # compiler that the machine or image may not have.
            "TORCHDYNAMO_DISABLE": "1",
        }


def argument(name: str, value: Any) -> tuple[str, ...]:
    """Return an argument of vLLM's server as it is typed; maps and lists as JSON."""
    if isinstance(value, bool):
        return (f"--{name}" if value else f"--no-{name}",)
    text = value if isinstance(value, str) else json.dumps(value)
    return (f"--{name}", text)


class Served(Protocol):
    """The models of a pair, or those that a stage may know of."""

    @property
    def engines(self) -> dict[str, Model]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def max_model_len(self) -> int: ...


def specs(
    served: Served,
    engines: Engines,
    roles: tuple[str, ...],
    concurrency: int,
    prefix_caching: bool = True,
    routers: Collection[tuple[str, str]] = (),
) -> list[EngineSpec]:
    """Return one spec per distinct role, in the order of `roles`; `routers`: (role, router)."""
    return [
        EngineSpec(
            role=role,
            served=served.engines[role],
            dtype=served.dtype,
            max_model_len=served.max_model_len,
            concurrency=concurrency,
            cpu_threads=engines.cpu_threads,
            kv_cache_gib=engines.kv_cache_gib,
            gpu_memory=served.engines[role].gpu_memory or engines.gpu_memory,
            env=engines.env,
            prefix_caching=prefix_caching,
            routers=tuple(dict.fromkeys(router for of, router in routers if of == role)),
        )
        for role in dict.fromkeys(roles)
    ]


def replicated(wanted: Sequence[EngineSpec], replicas: int) -> list[EngineSpec]:
    """Return the specs of all replicas of some engines, by the names that `copy_of` gives them."""
    return [replace(spec, role=copy_of(spec.role, i)) for i in range(replicas) for spec in wanted]


def copy_of(role: str, replica: int) -> str:
    """Return the name of a replica of an engine; of the first, the role itself."""
    return f"{role}-{replica + 1}" if replica else role
