"""Which GPUs there are, whether engines can use them, and which engine runs on which."""

import fcntl
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain, takewhile
from pathlib import Path
from typing import NamedTuple

from stages.engine.spec import EngineSpec
from stages.runtime.errors import UserError

DRIVER = 580  # the first that runs CUDA 13
LOCKS = Path(".snakemake/gpus")
QUERY = "index,uuid,driver_version,mig.mode.current"
# What CUDA_VISIBLE_DEVICES may name. CUDA knows shortened UUIDs too, vLLM does not.
WHOLE = re.compile(r"\d+|GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ROUNDING = 1e-9  # of sums of shares


class Gpu(NamedTuple):
    """A card of this machine; `name`: its number, or as CUDA_VISIBLE_DEVICES calls it."""

    name: str
    uuid: str
    driver: str
    mig: str


@contextmanager
def held(wanted: Sequence[EngineSpec]) -> Iterator[list[EngineSpec]]:
    """Yield the specs with their GPUs, which no other job of this project gets meanwhile.

    Raises UserError if the driver is too old or there are too few GPUs.
    """
    if not any(spec.served.gpus for spec in wanted):
        yield list(wanted)
        return
    cards = visible_gpus()
    check_count(wanted, len(cards))
    with ExitStack() as stack:
        free = lock(stack, cards, n_cards(wanted))
        places = place(wanted, free)
        yield [replace(spec, gpu_ids=places[spec.role]) for spec in wanted]


def place(wanted: Sequence[EngineSpec], gpu_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return {role: its GPUs}: the first that have room for its share of their memory.

    Raises UserError if there are too few.
    """
    check_count(wanted, len(gpu_ids))
    return fitted(wanted, gpu_ids)


def check_count(wanted: Sequence[EngineSpec], count: int) -> None:
    """Raise UserError unless `count` GPUs are enough."""
    if (needed := n_cards(wanted)) > count:
        each = ", ".join(f"{spec.role} {spec.served.gpus}" for spec in wanted)
        raise UserError(
            f"the engines need {needed} GPUs ({each}), there are {count}; "
            "CUDA_VISIBLE_DEVICES, where it is set, names those that may be used"
        )


def n_cards(wanted: Sequence[EngineSpec]) -> int:
    """Return the number of GPUs that engines take together."""
    most = [str(i) for i in range(sum(spec.served.gpus for spec in wanted))]
    return len(set(chain.from_iterable(fitted(wanted, most).values())))


def fitted(wanted: Sequence[EngineSpec], gpu_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the same, of enough GPUs."""
    left = dict.fromkeys(gpu_ids, 1 + ROUNDING)
    places = {}
    for spec in wanted:
        room = [card for card in gpu_ids if left[card] >= spec.gpu_memory]
        places[spec.role] = tuple(room[: spec.served.gpus])
        for card in places[spec.role]:
            left[card] -= spec.gpu_memory
    return places


def turns(placed: Sequence[EngineSpec]) -> list[list[EngineSpec]]:
    """Return the specs in groups that start side by side; the groups start one after another.

    A server measures the free memory of its GPU while it starts, so no other may start there.
    """
    groups: list[list[EngineSpec]] = []
    for spec in placed:
        if possible := [group for group in groups if not shares(spec, group)]:
            possible[0].append(spec)
        else:
            groups.append([spec])
    return groups


def shares(spec: EngineSpec, others: Sequence[EngineSpec]) -> bool:
    """Return whether an engine is on a GPU of one of the others."""
    return any(set(spec.gpu_ids) & set(other.gpu_ids) for other in others)


def lock(stack: ExitStack, cards: Sequence[Gpu], needed: int) -> list[str]:
    """Lock GPUs until the stack ends and return their names; UserError if too few are free.

    Locked are cards by their UUID: inside the limits of a Slurm job, several are called 0.
    """
    found: list[str] = []
    LOCKS.mkdir(parents=True, exist_ok=True)
    for card in cards:
        file = LOCKS / f"{socket.gethostname()}-{card.uuid}.lock"
        if len(found) < needed and locked(stack, file):
            found.append(card.name)
    if len(found) < needed:
        raise UserError(
            f"the engines need {needed} GPUs, other jobs of this project use all but {len(found)} "
            f"of the {len(cards)} here: wait until they have ended"
        )
    return found


def locked(stack: ExitStack, file: Path) -> bool:
    """Return whether nobody else has locked `file`; if so, it is locked until the stack ends."""
    handle = file.open("w", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return False
    except OSError:  # a file system without locks
        pass
    stack.enter_context(handle)
    return True


def visible_gpus() -> list[Gpu]:
    """Return the GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, otherwise all.

    Raises UserError for GPUs that cannot be used: unknown ones, parts of one, an old driver.
    """
    have = gpus()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        # CUDA ignores -1 and all that follows it.
        names = takewhile(lambda one: one not in ("", "-1"), map(str.strip, given.split(",")))
        have = [named(name, have) for name in names]
    for card in have:
        check_usable(card)
    return have


def named(name: str, have: Sequence[Gpu]) -> Gpu:
    """Return the GPU that CUDA_VISIBLE_DEVICES calls `name`, and call it so."""
    if name == "NoDevFiles":
        raise UserError("CUDA_VISIBLE_DEVICES is 'NoDevFiles': Slurm gave this job no GPU")
    if not WHOLE.fullmatch(name):
        raise UserError(
            f"CUDA_VISIBLE_DEVICES names '{name}', which is neither a number nor a full UUID of a "
            "GPU (`nvidia-smi --list-gpus` prints them); parts of a GPU (MIG) cannot be used"
        )
    for card in have:
        if name in (card.name, card.uuid):
            return card._replace(name=name)
    raise UserError(f"CUDA_VISIBLE_DEVICES names '{name}', and nvidia-smi finds no such GPU")


def check_usable(card: Gpu) -> None:
    """Raise UserError unless the driver runs vLLM's build for CUDA, and the GPU is whole."""
    if int(card.driver.split(".")[0]) < DRIVER:
        raise UserError(
            f"the NVIDIA driver here is {card.driver}: CUDA 13, which vLLM is built for, needs "
            f"{DRIVER} or newer"
        )
    if card.mig == "Enabled":
        raise UserError(
            f"GPU {card.name} is divided (MIG), and engines take whole ones: leave it out of "
            "CUDA_VISIBLE_DEVICES, or have its MIG mode turned off"
        )


def gpus() -> list[Gpu]:
    """Return the GPUs of this machine; UserError without NVIDIA's driver, or if it fails."""
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
    try:
        listed = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError as error:
        raise UserError(
            "no nvidia-smi here, so no NVIDIA driver: pairs whose engines have `gpus` need one"
        ) from error
    if listed.returncode:
        said = (listed.stdout + listed.stderr).strip().splitlines() or ["no reason given"]
        raise UserError(f"nvidia-smi finds no GPU: {said[0]}")
    return [Gpu(*map(str.strip, line.split(","))) for line in listed.stdout.splitlines()]
