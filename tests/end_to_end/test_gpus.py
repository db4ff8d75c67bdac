"""Jobs on the GPUs of one machine: told apart, checked before the first; with a scripted driver."""

import sys
from pathlib import Path

import pytest

from tests import scripted
from tests.end_to_end.conftest import (
    checkout,
    held,
    path_with_driver,
    reduced,
    run,
    started,
    until,
)

pytestmark = pytest.mark.end_to_end

ANSWERS = ("snakemake", "--cores", "16", "--", "results/demo/generations/small")


@pytest.fixture
def on_gpus(tmp_path: Path) -> Path:
    """A checkout whose pair runs on GPUs, each method by two jobs."""
    params = reduced()
    pair = params["pairs"]["demo"]
    pair["engines"] = {
        role: {"model": f"demo_pair/{role}", "gpus": 1} for role in ("large", "small")
    }
    del params["methods"]["relaygen_eagle3"]
    params["infer"]["shards"] = 2
    folder = tmp_path / "checkout"
    folder.mkdir()
    return checkout(folder, params)


def test_a_machine_without_gpus_is_told_so_before_any_job(on_gpus: Path) -> None:
    result = run(on_gpus, *ANSWERS, PATH=f"{Path(sys.executable).parent}:/bin")
    assert result.returncode != 0
    assert "no nvidia-smi here, so no NVIDIA driver" in result.stderr
    assert not (on_gpus / "results/demo").exists()


def test_jobs_run_side_by_side_each_on_a_gpu_of_its_own(on_gpus: Path, tmp_path: Path) -> None:
    path, log = path_with_driver(tmp_path), tmp_path / "requests"
    with held(on_gpus, 1), started(on_gpus, *ANSWERS, PATH=path, SCRIPTED_LOG=str(log)):
        # While they are held, no job ends.
        until(lambda: {line["gpus"] for line in scripted.requests(log)} == {"0", "1"}, "two jobs")
