"""Environment variables of engines: those of vLLM and NCCL that params.yaml may set."""

import re
from typing import Annotated

from pydantic import AfterValidator

PATTERN = re.compile(r"(VLLM|NCCL)_[A-Z0-9_]+|CUDA_DEVICE_ORDER")
# The pipeline itself sets these, for it relies on their values.
OWN = (
    "VLLM_API_KEY",
    "VLLM_CPU_KVCACHE_SPACE",
    "VLLM_ENABLE_V1_MULTIPROCESSING",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE",
    "VLLM_MAX_STOP_STRINGS",
    "VLLM_NO_USAGE_STATS",
    "VLLM_RPC_BASE_PATH",
)


def of_engines(name: str) -> bool:
    """Return whether an environment variable is one that engines get from params.yaml alone."""
    return bool(PATTERN.fullmatch(name))


def check(name: str) -> str:
    """Return `name`; ValueError if params.yaml may not set it."""
    if not of_engines(name):
        raise ValueError("only VLLM_*, NCCL_* and CUDA_DEVICE_ORDER can be set here")
    if name in OWN:
        raise ValueError("the pipeline sets this variable itself: remove it")
    return name


Variable = Annotated[str, AfterValidator(check)]
