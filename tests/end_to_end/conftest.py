"""Checkouts in temporary folders, and what is run in them.

Servers are scripted ones (`tests.scripted`), except where a test says otherwise.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests import scripted
from tests.conftest import ROOT

Row = dict[str, Any]
STORE = "store"
ANSWERS = f"{STORE}/answers"
TABLES = (
    "results/tables/accuracy.csv",
    "results/tables/accuracy.tex",
    "results/tables/cue_ablation.csv",
    "results/tables/answer_stage.csv",
    "results/demo/cues.csv",
    "results/demo/replay.json",
)
HOLD = "hold"  # a file of a checkout: see `held`
REAL = {"PYTHONPATH": ""}


def reduced() -> dict[str, Any]:
    """The project's params, with as little to do as still shows everything; one at a time."""
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    pair = params["pairs"]["demo"]
    params["pairs"] = {"demo": pair}  # DVC reads the whole file once per stage
    pair["calibration"]["chains_calibration"]["n_problems"] = 4
    for benchmark in pair["benchmarks"].values():
        benchmark["n_problems"] = 2
    params["infer"]["concurrency"] = 1
    del pair["concurrency"]
    params["cues"]["min_segments"] = 1
    for name in ("eagle3", "draft", "ngram", "spec_think", "r2r", "r2r_entropy"):
        del params["methods"][name]
    params["ablation"]["methods"] = {
        "all_candidates": params["ablation"]["methods"]["all_candidates"]
    }
    params["latency"].update(n_problems=2, runs=1)
    return params


def under_load() -> dict[str, Any]:
    """The same with answers under load, which a run may go without."""
    params = reduced()
    params["throughput"] = {"run": ["demo"], "in_flight": [1, 3], "n_problems": 2}
    return params


def few_methods() -> dict[str, Any]:
    """The same with the relay and the large model alone, to run in another place."""
    params = reduced()
    params["methods"] = {name: params["methods"][name] for name in ("large", "relaygen")}
    params["ablation"]["methods"] = {}
    return params


def write_params(folder: Path, params: dict[str, Any]) -> None:
    """Have a checkout run something else."""
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def checkout(folder: Path, params: dict[str, Any] | None = None) -> Path:
    """The working tree's files (tracked, or new and not ignored) in a repository of their own."""
    listed = run(ROOT, "git", "ls-files", "-co", "--exclude-standard", "-z").stdout
    for name in filter(None, listed.split("\0")):
        file = ROOT / name
        if (file.is_file() or file.is_symlink()) and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, folder / name, follow_symlinks=False)
    write_params(folder, params or reduced())
    run(folder, "git", "init", "-q")
    return folder


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """The variables of a user who has activated the project's environment, and more.

    Those for servers hold in containers too.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    hold = {"SCRIPTED_HOLD": str(folder / HOLD)}
    for_servers = scripted.environment(folder, **hold, **variables)
    # A run imports the same modules a hundred times: let Python keep what it compiled.
    kept = {name: os.environ[name] for name in os.environ if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PATH": path, "DVC_NO_ANALYTICS": "1", **for_servers}


def path_with_driver(folder: Path) -> str:
    """Put stand-ins for a driver with two GPUs and a compiler into `folder`; returns a PATH."""
    uuids = [f"GPU-5a2b91c0-0000-0000-0000-00000000000{i}" for i in range(2)]
    gpus = "\n".join(f"echo {i}, {uuid}, 580.65.06, N/A" for i, uuid in enumerate(uuids))
    for name, text in {"nvidia-smi": gpus, "gcc": "exit 0"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project's environment in `folder`; `variables` are set for it."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def succeed(folder: Path, *command: str, **variables: str) -> str:
    """Run a command that has to end well; returns what it prints."""
    result = run(folder, *command, **variables)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def relaygen(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the console command of a checkout."""
    return run(folder, "python", "-m", "stages.runtime.main", *arguments)


@contextmanager
def held(folder: Path, answers: int) -> Iterator[None]:
    """Servers of a checkout wait after as many answers each, for a while."""
    (folder / HOLD).write_text(f"{answers}")
    try:
        yield
    finally:
        (folder / HOLD).unlink()


@contextmanager
def started(folder: Path, *command: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command under way in a process group of its own, ended by force if it still runs."""
    with (folder / "command.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder, **variables),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process group by force, as a crash of the machine would."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def until(found: Callable[[], Any], what: str, timeout_s: float = 300) -> Any:
    """What `found` returns, once that is something."""
    deadline = time.monotonic() + timeout_s
    while not (result := found()):
        assert time.monotonic() < deadline, f"no {what} within {timeout_s} s"
        time.sleep(0.1)
    return result


def kept(folder: Path, method: str) -> list[Row]:
    """The finished answers that a method's jobs have put into a checkout's store."""
    cues = folder / f"results/demo/cue_sets/{method}.yaml"
    if not cues.exists():
        return []
    settings = read_yaml(folder / f"results/recipes/demo/infer/{method}.yaml")["settings"]
    line = {key: value for key, value in settings["method"].items() if key != "cues"}
    wanted = line, read_yaml(cues)["cues"]
    folders = [
        note.parent
        for note in folder.glob(f"{ANSWERS}/*/recipe.yaml")
        if (about := read_yaml(note)) and (about["method"], about["cues"]) == wanted
    ]
    lines = [
        line for one in folders for file in one.glob("infer-*.jsonl") for line in whole_lines(file)
    ]
    return [line["row"] for line in lines if "row" in line]


def read_yaml(file: Path) -> Any:
    """A YAML file's content."""
    return yaml.safe_load(file.read_text())


def whole_lines(file: Path) -> list[Row]:
    """The lines of a checkpoint, less one that is being written."""
    return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]


def processes_in(folder: Path) -> list[psutil.Process]:
    """The processes that work in a checkout."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


def wait_for_none(left: Callable[[], list[Any]], patience_s: float = 60) -> list[Any]:
    """What `left` returns, once that is nothing or patience has ended."""
    deadline = time.monotonic() + patience_s
    while (found := left()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


@dataclass(frozen=True)
class Resumed:
    """A checkout whose run was killed in the midst of the relay's answers.

    `kept`: those on disk then; `left`: the processes that the kill left behind.
    """

    folder: Path
    kept: list[Row]
    left: list[psutil.Process]


def reproduce(folder: Path) -> Path:
    """`dvc repro` from nothing."""
    succeed(folder, "dvc", "repro")
    return folder


def kill_and_resume(folder: Path) -> Resumed:
    """Snakemake, killed with its jobs among the relay's answers, then Snakemake to the end."""
    relay = ("snakemake", "--cores", "2", "results/demo/generations/relaygen")
    with held(folder, 4), started(folder, *relay) as killed:
        until(lambda: len(kept(folder, "relaygen")) == 4, "answers")
        kill(killed)
    found = kept(folder, "relaygen")
    left = wait_for_none(lambda: processes_in(folder))
    succeed(folder, "snakemake", "--cores", "2")
    return Resumed(folder, found, left)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Resumed]:
    """Both entrances from nothing, side by side: they share two cores and no file."""
    with ThreadPoolExecutor() as pool:
        repro, resumed_ = (
            checkout(tmp_path_factory.mktemp(name), under_load()) for name in ("repro", "resumed")
        )
        undisturbed = pool.submit(reproduce, repro)
        resumed = pool.submit(kill_and_resume, resumed_)
        return undisturbed.result(), resumed.result()


@pytest.fixture(scope="session")
def repro(finished: tuple[Path, Resumed]) -> Path:
    """A checkout in which `dvc repro` went through from nothing, undisturbed."""
    return finished[0]


@pytest.fixture(scope="session")
def resumed(finished: tuple[Path, Resumed]) -> Resumed:
    """A checkout in which `snakemake` went through after it was killed once."""
    return finished[1]


@pytest.fixture(scope="session")
def on_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which Snakemake went through without containers, with few methods."""
    folder = checkout(tmp_path_factory.mktemp("on_host"), few_methods())
    succeed(folder, "snakemake", "--cores", "2")
    return folder


def check_tables(folder: Path, on_host: Path) -> None:
    """The tables of a run elsewhere are, byte by byte, those of the host."""
    for table in TABLES:
        content = (folder / table).read_bytes()
        assert len(content.splitlines()) > 1
        assert content == (on_host / table).read_bytes()


@dataclass(frozen=True)
class Images:
    """The two images, built from a local base."""

    pipeline: Path
    engine: Path

    @property
    def params(self) -> dict[str, str]:
        """The block of params.yaml that puts every stage into them."""
        return {"use": "apptainer", "pipeline": str(self.pipeline), "engine": str(self.engine)}


@pytest.fixture(scope="session")
def images() -> Images:
    """Built where they are not up to date; skipped where that cannot be."""
    if not shutil.which("apptainer"):
        pytest.skip("apptainer is not installed: tests/install_apptainer.sh")
    if run(ROOT, "make", "--question", "containers").returncode:
        if os.geteuid() or not shutil.which("debootstrap"):
            pytest.skip("a local base needs root and debootstrap: tests/install_apptainer.sh")
        succeed(ROOT, "make", "containers/base")
        succeed(ROOT, "make", "--jobs=2", "containers", "BASE=containers/base")
    return Images(ROOT / "containers/pipeline.sif", ROOT / "containers/engine-cpu.sif")
