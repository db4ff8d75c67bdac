"""vLLM's OpenAI-compatible server, with one of its CPU kernels fixed.

Run as `python -m stages.engine.serve`, with the server's arguments. The engine's process imports
this module too, so it gets the fixed kernel.
"""

import runpy
import warnings

import torch
from torch import Tensor
from vllm.utils import cpu_triton_utils


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


cpu_triton_utils._expand_kernel_impl = expand

if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
