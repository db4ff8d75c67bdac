"""Which GPUs there are, and which engine runs on which."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, takewhile

from stages.engine.spec import EngineSpec
from stages.runtime.errors import UserError


def with_gpus(wanted: Sequence[EngineSpec], gpu_ids: Sequence[str]) -> list[EngineSpec]:
    """Return the specs with the GPUs that each runs on; UserError if there are too few."""
    places = place(wanted, gpu_ids)
    return [replace(spec, gpu_ids=places[spec.role]) for spec in wanted]


def place(wanted: Sequence[EngineSpec], gpu_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return {role: its GPUs}, assigned in order, none shared; UserError if there are too few."""
    needed = sum(spec.served.gpus for spec in wanted)
    if needed > len(gpu_ids):
        each = ", ".join(f"{spec.role} {spec.served.gpus}" for spec in wanted)
        raise UserError(
            f"the engines need {needed} GPUs ({each}), there are {len(gpu_ids)}; "
            "CUDA_VISIBLE_DEVICES, where it is set, names those that may be used"
        )
    free = iter(gpu_ids)
    return {spec.role: tuple(islice(free, spec.served.gpus)) for spec in wanted}


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, otherwise all."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(i) for i in range(count_gpus())]
    # CUDA ignores an invalid id and all that follow it.
    return list(takewhile(lambda one: one not in ("", "-1"), map(str.strip, given.split(","))))


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs of this machine; 0 without their driver."""
    command = ["nvidia-smi", "--list-gpus"]
    try:
        listed = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        ).stdout
    except FileNotFoundError:
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())
