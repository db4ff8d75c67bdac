"""Which GPUs there are, and which engine gets which."""

from pathlib import Path

import pytest

from stages.engine.gpus import place, visible_gpus, with_gpus
from stages.runtime.errors import UserError
from tests.unit.conftest import engine_specs

pytestmark = pytest.mark.unit


def ids(count: int) -> list[str]:
    """Ids of a machine's GPUs, as CUDA_VISIBLE_DEVICES has them."""
    return [str(i) for i in range(count)]


@pytest.mark.parametrize(
    ("roles", "places"),
    [
        (("large", "small"), {"large": ("0", "1"), "small": ("2",)}),
        (
            ("large", "eagle3", "small"),
            {"large": ("0", "1"), "eagle3": ("2", "3"), "small": ("4",)},
        ),
        (("small",), {"small": ("0",)}),
    ],
)
def test_engines_share_no_gpu(roles: tuple[str, ...], places: dict[str, tuple[str, ...]]) -> None:
    assert place(engine_specs(*roles, pair="qwen3"), ids(8)) == places


def test_engines_on_the_cpu_take_no_gpu() -> None:
    assert place(engine_specs("large", "small"), []) == {"large": (), "small": ()}


def test_each_engine_gets_its_gpus() -> None:
    large, small = with_gpus(engine_specs("large", "small", pair="qwen3"), ids(3))
    assert (large.gpu_ids, small.gpu_ids) == (("0", "1"), ("2",))


def test_too_few_gpus_are_counted_in_one_line() -> None:
    with pytest.raises(UserError) as caught:
        place(engine_specs("large", "eagle3", "small", pair="qwen3"), ids(4))
    assert str(caught.value) == (
        "the engines need 5 GPUs (large 2, eagle3 2, small 1), there are 4; "
        "CUDA_VISIBLE_DEVICES, where it is set, names those that may be used"
    )


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("2,3", ["2", "3"]),
        (" GPU-5a, GPU-7f", ["GPU-5a", "GPU-7f"]),
        ("", []),
        ("1,-1,2", ["1"]),
    ],
)
def test_gpus_that_were_allotted_are_those_that_are_used(
    monkeypatch: pytest.MonkeyPatch, given: str, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == names


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("GPU 0: NVIDIA A100 (UUID: GPU-5a)\nGPU 1: NVIDIA A100 (UUID: GPU-7f)", ["0", "1"]),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", []),
    ],
)
def test_without_an_allotment_all_gpus_of_the_machine_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, names: list[str]
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{listed}\nEND\n")
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert visible_gpus() == names


def test_a_machine_without_the_driver_has_no_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
