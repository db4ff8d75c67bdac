"""Two temporary checkouts with reduced params, run from nothing through the two entrances."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def reduced() -> dict[str, Any]:
    """The project's params, with as little to do as still shows everything; one at a time."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    pair = params["pairs"]["demo"]
    params["pairs"] = {"demo": pair}  # DVC reads the whole file once per stage
    pair["calibration"]["chains_calibration"]["n_problems"] = 4
    for benchmark in pair["benchmarks"].values():
        benchmark["n_problems"] = 2
    params["infer"]["concurrency"] = 1
    params["cues"]["min_segments"] = 1
    for name in ("eagle3", "spec_think"):
        del params["methods"][name]
    params["ablation"]["methods"] = {
        "all_candidates": params["ablation"]["methods"]["all_candidates"]
    }
    params["latency"].update(n_problems=2, runs=1)
    return params


def run(folder: Path, *command: str, timeout: int = 1800) -> subprocess.CompletedProcess[str]:
    """Run a command of the project's environment in `folder`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def checkout(folder: Path) -> Path:
    """The working tree's files (tracked, or new and not ignored) in a repository of their own."""
    listed = run(ROOT, "git", "ls-files", "-co", "--exclude-standard", "-z").stdout
    for name in filter(None, listed.split("\0")):
        file = ROOT / name
        if (file.is_file() or file.is_symlink()) and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, folder / name, follow_symlinks=False)
    write_params(folder, reduced())
    run(folder, "git", "init", "-q")
    return folder


def write_params(folder: Path, params: dict[str, Any]) -> None:
    """Have a checkout run something else."""
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


@dataclass(frozen=True)
class Resumed:
    """A checkout whose relay job was killed midway; `kept`: the answers that were on disk then."""

    folder: Path
    kept: list[dict[str, Any]]


def reproduce(folder: Path) -> Path:
    """`dvc repro` from nothing."""
    succeed(folder, "dvc", "repro")
    return folder


def kill_and_resume(folder: Path) -> Resumed:
    """Snakemake up to the relay's cues, its job killed with SIGKILL, then Snakemake to the end."""
    succeed(folder, "snakemake", "--cores", "2", "results/demo/recipes/relaygen.yaml")
    job = subprocess.Popen(
        [
            sys.executable, "-m", "stages.infer", "--pair", "demo", "--method", "relaygen",
            "--problems", "results/demo/problems", "--recipe", "results/demo/recipes/relaygen.yaml",
            "--out", "results/demo/parts/relaygen/0", "--log", "logs/killed.log",
        ],
        cwd=folder,
    )  # fmt: skip
    shard = wait_for_lines(folder / "shards", 2)
    job.send_signal(signal.SIGKILL)
    job.wait()
    kept = [json.loads(line) for line in shard.read_text().splitlines()]
    succeed(folder, "snakemake", "--cores", "2")
    return Resumed(folder, kept)


def succeed(folder: Path, *command: str) -> None:
    """Run a command that has to end well."""
    result = run(folder, *command)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


def wait_for_lines(folder: Path, n: int, name: str = "*.jsonl", timeout_s: float = 300) -> Path:
    """The first shard below `folder`, of those named like `name`, that holds `n` answers."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for shard in folder.rglob(name):
            if shard.read_text().count("\n") >= n:
                return shard
        time.sleep(0.05)
    raise AssertionError(f"no {n} answers within {timeout_s} s")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Resumed]:
    """Both entrances from nothing, side by side: they share two cores and no file."""
    with ThreadPoolExecutor() as pool:
        undisturbed = pool.submit(reproduce, checkout(tmp_path_factory.mktemp("repro")))
        resumed = pool.submit(kill_and_resume, checkout(tmp_path_factory.mktemp("resumed")))
        return undisturbed.result(), resumed.result()


@pytest.fixture(scope="session")
def repro(finished: tuple[Path, Resumed]) -> Path:
    """A checkout in which `dvc repro` went through from nothing, undisturbed."""
    return finished[0]


@pytest.fixture(scope="session")
def resumed(finished: tuple[Path, Resumed]) -> Resumed:
    """A checkout in which `snakemake` went through, its relay job killed once."""
    return finished[1]


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


def in_containers(folder: Path, images: Images) -> Path:
    """A checkout whose params put every stage into a container."""
    write_params(checkout(folder), reduced() | {"containers": images.params})
    return folder
