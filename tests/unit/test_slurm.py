"""What is asked of Slurm before the first job, and what is made of its answers."""

from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest
from snakemake_executor_plugin_slurm.partitions import Partition, read_partition_file

from stages.runtime.errors import UserError
from stages.runtime.slurm import PROFILE, Request, ask, one_line, request_of
from tests.conftest import ROOT

pytestmark = pytest.mark.unit


@pytest.fixture
def partitions() -> list[Partition]:
    """Those of the profile as it comes."""
    found: list[Partition] = read_partition_file(ROOT / PROFILE)
    return found


def job(**resources: int | str) -> SimpleNamespace:
    return SimpleNamespace(
        name="infer", rule=SimpleNamespace(name="infer"), threads=1, resources=resources
    )


def test_a_job_with_gpus_goes_where_gpus_are(partitions: list[Partition]) -> None:
    assert request_of(job(gpu=3, runtime=1440), partitions).partition == "gpu"


def test_a_job_without_gpus_keeps_off_them(partitions: list[Partition]) -> None:
    assert request_of(job(gpu=0, runtime=1440), partitions).partition == "cpu"


def test_a_partition_that_the_profile_names_for_a_rule_is_taken(
    partitions: list[Partition],
) -> None:
    assert request_of(job(gpu=3, slurm_partition="big"), partitions).partition == "big"


def test_more_gpus_than_a_node_has_is_one_line(partitions: list[Partition]) -> None:
    with pytest.raises(UserError, match=r"no partition has room .* rule infer \(gpu 9, runtime 30"):
        request_of(job(gpu=9, runtime=30), partitions)


def test_sbatch_is_asked_for_what_the_job_will_ask() -> None:
    request = Request("infer", "gpu", "project", 1440, 3)
    assert request.options == ["--partition=gpu", "--account=project", "--time=1440", "--gpus=3"]


def test_what_is_not_given_is_not_asked_for() -> None:
    assert Request("cues", None, None, None, 0).options == []


def test_a_machine_without_slurm_is_one_line() -> None:
    with pytest.raises(UserError, match="no sbatch-of-nowhere here: use the Slurm profile where"):
        ask("sbatch-of-nowhere")


def test_the_reason_is_the_last_thing_that_slurm_says() -> None:
    said = "sbatch: error: bad\nallocation failure: Invalid partition name specified\n"
    assert one_line(CompletedProcess([], 1, "", said)) == "Invalid partition name specified"
