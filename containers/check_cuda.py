"""What can be checked of vLLM for CUDA on a machine without a GPU.

A compiler for Triton, the modules that an engine imports, and the command line of every engine of
every pair on GPUs: vLLM's own parser takes it, and for models in a folder its configuration too.
Where NVIDIA's driver is missing, a stand-in tells of two H100.
"""

import ctypes
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from stages.config.params import load
from stages.engine import compiler
from stages.engine.server import command
from stages.engine.spec import EngineSpec
from stages.planning import assumptions
from stages.planning.jobs import engine_specs, jobs
from stages.planning.pair import REFERENCE, planned_pair

PORT = 8000
IMPORTED = (
    "triton",
    "tilelang",
    "vllm.entrypoints.openai.api_server",
    "vllm.v1.worker.gpu_worker",
    "vllm.v1.worker.gpu.model_runner",
    "vllm.v1.attention.backends.flash_attn",
    "vllm.v1.attention.backends.triton_attn",
    "vllm.model_executor.models.qwen2",
    "vllm.model_executor.models.qwen3",
    "vllm.model_executor.models.llama_eagle3",
    # Warming up kernels imports these whatever the model is; both need torchvision.
    "vllm.model_executor.models.qwen3_vl",
    "vllm.model_executor.warmup.minimax_m3_msa_warmup",
)
H100: dict[str, Callable[..., Any]] = {
    "nvmlInit": lambda: None,
    "nvmlShutdown": lambda: None,
    "nvmlDeviceGetCount": lambda: 2,
    "nvmlDeviceGetHandleByIndex": lambda index: index,
    "nvmlDeviceGetCudaComputeCapability": lambda _: (9, 0),
    "nvmlDeviceGetName": lambda _: "NVIDIA H100 80GB HBM3",
    "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=80 * 2**30),
}


def check() -> None:
    """Print what was checked; raises what does not work."""
    compiler.check()
    stand_in()
    for name in IMPORTED:
        importlib.import_module(name)
    print("modules", len(IMPORTED))
    specs = list(on_gpus())
    configured = [spec for spec in specs if accept(spec)]
    print("command lines", len(specs), "configurations", len(configured))


def stand_in() -> None:
    """Have vLLM find two GPUs where there is no driver to ask."""
    from vllm.third_party import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        for name, function in H100.items():
            setattr(pynvml, name, function)
        load_empty("libcuda.so.1")
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else vLLM goes without Triton


def load_empty(library: str) -> None:
    """Load a library without content under the name of one that others are linked to.

    Functions that they miss in it are an error only where they are called.
    """
    sys.setdlopenflags(os.RTLD_LAZY)
    with TemporaryDirectory() as folder:
        file = Path(folder, library)
        options = ["-shared", f"-Wl,-soname,{library}", "-o", str(file)]
        subprocess.run(["gcc", "-x", "c", "/dev/null", *options], check=True)
        ctypes.CDLL(str(file), ctypes.RTLD_GLOBAL)


def on_gpus() -> Iterator[EngineSpec]:
    """Yield every engine that any pair on GPUs starts."""
    params = load(Path("params.yaml"))
    known = assumptions.load(REFERENCE / "plan.yaml")
    for name in params.pairs:
        pair = planned_pair(params, name, known)
        for job in jobs(pair):
            yield from (spec for spec in engine_specs(pair, job) if spec.served.gpus)


def accept(spec: EngineSpec) -> bool:
    """Return whether an engine could be configured too; an exception if vLLM refuses it."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    arguments = command(spec, PORT)[3:]  # behind `python -m MODULE`
    parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(arguments)
    validate_parsed_serve_args(parsed)
    if spec.served.on_hub:
        return False
    AsyncEngineArgs.from_cli_args(parsed).create_engine_config()
    return True
