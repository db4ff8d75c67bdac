"""Check an installed engine: one answer on CPUs; for CUDA what can be checked without a GPU.

The test of the engine images: `PYTHONPATH=. python containers/check_engine.py cpu` (or `cuda`).
"""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import vllm

from stages.config.params import load
from stages.engine import server
from stages.engine.client import Client
from stages.engine.spec import specs
from stages.methods.base import Request


async def answer() -> str:
    """A few tokens from a server of its own."""
    params = load(Path("params.yaml"))
    pair = params.pair("demo")
    wanted = specs(pair, params.engines, ("small",), concurrency=1)
    with (
        TemporaryDirectory() as logs,
        server.running(wanted, params.engines, Path(logs)) as engines,
    ):
        async with Client(engines["small"], pair.sampling, params.infer) as client:
            request = Request("small", prompt_ids=[1, 2, 3], max_tokens=8)
            return (await client.complete(request, seed=1, salt="check")).text


print("torch", torch.__version__)
print("vllm", vllm.__version__)
if sys.argv[1] == "cpu":
    print("answer", repr(asyncio.run(answer())))
else:
    from containers import check_cuda

    check_cuda.check()
