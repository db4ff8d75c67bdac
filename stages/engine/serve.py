"""vLLM's OpenAI-compatible server for CPUs: one kernel fixed, and quicker to start.

Run as `python -m stages.engine.serve`, with the server's arguments.
"""

import multiprocessing
import runpy
import warnings
from multiprocessing.context import ForkContext

import torch
from torch import Tensor
from vllm.utils import cpu_triton_utils, system_utils


def expand(
    output: Tensor,
    values: Tensor,
    cu_num_tokens: Tensor,
    replace_from: float,
    replace_to: float,
    MAX_NUM_TOKENS: int | None = None,  # noqa: N803 - the kernel's name for it
) -> None:
    """Write each request's value to all its drafted tokens, in place.

    vLLM 0.32 writes into a copy unless `output` is int64: temperature, top-p and top-k of drafted
    tokens stay uninitialised, and sampling crashes or uses wrong values.
    """
    counts = torch.diff(cu_num_tokens, prepend=cu_num_tokens.new_zeros(1))
    replaced = torch.where(values == replace_from, replace_to, values).to(output.dtype)
    output.copy_(replaced.repeat_interleave(counts))


def forking() -> ForkContext:
    """Return how the engine's process starts: with all that the server has imported.

    vLLM spawns it on CPUs, and importing everything once more is half of a start.
    """
    return multiprocessing.get_context("fork")


cpu_triton_utils._expand_kernel_impl = expand
system_utils.get_mp_context = forking

if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
