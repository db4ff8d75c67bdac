"""A temporary checkout with reduced params, run once through `dvc repro`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


def reduced() -> dict[str, object]:
    """The project's params, with as little to do as still shows everything; one at a time."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    pair = params["pairs"]["demo"]
    pair["calibration"]["chains_calibration"]["n_problems"] = 6
    for benchmark in pair["benchmarks"].values():
        benchmark["n_problems"] = 2
    params["traces"]["repeats"] = 1
    params["infer"].update(repeats=1, concurrency=1)
    params["cues"]["min_segments"] = 2
    return params


def run(folder: Path, *command: str, timeout: int = 900) -> subprocess.CompletedProcess[str]:
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
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(reduced(), sort_keys=False))
    run(folder, "git", "init", "-q")
    return folder


@pytest.fixture(scope="session")
def repro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which `dvc repro` went through from nothing."""
    folder = checkout(tmp_path_factory.mktemp("repro"))
    result = run(folder, "dvc", "repro")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which a bare `snakemake` went through from nothing."""
    folder = checkout(tmp_path_factory.mktemp("bare"))
    result = run(folder, "snakemake", "--cores", "2")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder
