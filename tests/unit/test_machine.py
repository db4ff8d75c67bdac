"""What jobs with GPUs lack on this machine is said before the first of them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from stages.engine import compiler
from stages.runtime import machine
from stages.runtime.errors import UserError
from tests.unit.conftest import params_with

pytestmark = pytest.mark.unit

PARAMS = params_with("run", ["qwen3"])
UUID = "GPU-5a2b91c0-0000-0000-0000-00000000000"


def job(rule: str, **wildcards: str) -> Any:
    """A job of Snakemake, as far as it is looked at."""
    return SimpleNamespace(rule=SimpleNamespace(name=rule), wildcards=wildcards)


@pytest.fixture
def four(nvidia_smi: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with four GPUs and no compiler."""
    nvidia_smi("\n".join(f"{i}, {UUID}{i}, 580.65.06, [N/A]" for i in range(4)))
    monkeypatch.setattr(compiler, "which", lambda _: None)
    monkeypatch.delenv("CC", raising=False)


def test_the_job_that_wants_most_is_found_before_the_first_starts(four: None) -> None:
    jobs = [job("infer", pair="qwen3", method="relaygen"), job("latency", pair="qwen3")]
    with pytest.raises(UserError, match=r"need 7 GPUs \(.*eagle3 2.*\), there are 4"):
        machine.check(PARAMS, jobs, contained=True)


def test_a_compiler_is_needed_on_the_machine_itself_and_not_for_containers(four: None) -> None:
    jobs = [job("infer", pair="qwen3", method="relaygen", part="0")]
    machine.check(PARAMS, jobs, contained=True)
    with pytest.raises(UserError, match="no C compiler here"):
        machine.check(PARAMS, jobs, contained=False)


@pytest.mark.parametrize(
    "jobs",
    [
        [job("prepare", pair="qwen3", set="aime25"), job("tables"), job("bench")],
        [job("infer", pair="demo", method="relaygen"), job("latency", pair="demo")],
    ],
)
def test_jobs_without_gpus_need_neither(jobs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    machine.check(PARAMS, jobs, contained=False)
