"""Which GPUs there are, whether they can be used, and which engine gets which."""

import fcntl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stages.engine import gpus
from stages.engine.gpus import held, n_cards, place, turns, visible_gpus
from stages.engine.spec import EngineSpec
from stages.runtime.errors import UserError
from tests.unit.conftest import engine_specs

pytestmark = pytest.mark.unit

UUIDS = [f"GPU-5a2b91c0-0000-0000-0000-00000000000{i}" for i in range(8)]
NvidiaSmi = Callable[[str], None]


def listed(count: int, driver: str = "580.65.06", mig: str = "[N/A]") -> str:
    """What nvidia-smi prints of a machine's GPUs."""
    return "\n".join(f"{i}, {UUIDS[i]}, {driver}, {mig}" for i in range(count))


def ids(count: int) -> list[str]:
    """Ids of a machine's GPUs, as CUDA_VISIBLE_DEVICES has them."""
    return [str(i) for i in range(count)]


def names() -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES has them."""
    return [card.name for card in visible_gpus()]


def sharing(*shares: float) -> list[EngineSpec]:
    """Engines on one GPU each, with a share of its memory."""
    (spec,) = engine_specs("small", pair="qwen3")
    return [replace(spec, role=f"{i}", gpu_memory=share) for i, share in enumerate(shares)]


@pytest.fixture
def eight(nvidia_smi: NvidiaSmi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight GPUs, all of which may be used."""
    monkeypatch.setattr(gpus, "LOCKS", tmp_path / "locks")
    nvidia_smi(listed(8))


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
def test_engines_that_take_most_of_a_gpu_share_none(
    roles: tuple[str, ...], places: dict[str, tuple[str, ...]]
) -> None:
    assert place(engine_specs(*roles, pair="qwen3"), ids(8)) == places


@pytest.mark.parametrize(
    ("shares", "cards"),
    [
        ((0.3, 0.3, 0.3), "000"),
        ((0.1,) * 10, "0" * 10),  # in floating point, ten tenths are less than one
        ((0.6, 0.6, 0.4, 0.4), "0101"),
    ],
)
def test_engines_share_a_gpu_on_which_their_shares_fit(
    shares: tuple[float, ...], cards: str
) -> None:
    assert place(sharing(*shares), ids(2)) == {f"{i}": (one,) for i, one in enumerate(cards)}
    assert n_cards(sharing(*shares)) == len(set(cards))


def test_engines_on_the_cpu_take_no_gpu() -> None:
    assert place(engine_specs("large", "small"), []) == {"large": (), "small": ()}


def test_engines_start_side_by_side_but_on_one_gpu_one_after_another() -> None:
    first, second, third = sharing(0.5, 0.5, 0.5)
    placed = [
        replace(spec, gpu_ids=(card,))
        for spec, card in zip((first, second, third), "001", strict=True)
    ]
    assert [[spec.role for spec in turn] for turn in turns(placed)] == [["0", "2"], ["1"]]
    assert len(turns(engine_specs("large", "small"))) == 1


def test_too_few_gpus_are_counted_in_one_line() -> None:
    with pytest.raises(UserError) as caught:
        place(engine_specs("large", "eagle3", "small", pair="qwen3"), ids(4))
    assert str(caught.value) == (
        "the engines need 5 GPUs (large 2, eagle3 2, small 1), there are 4; "
        "CUDA_VISIBLE_DEVICES, where it is set, names those that may be used"
    )


def test_each_engine_gets_its_gpus(eight: None) -> None:
    with held(engine_specs("large", "small", pair="qwen3")) as (large, small):
        assert (large.gpu_ids, small.gpu_ids) == (("0", "1"), ("2",))


def test_jobs_share_no_gpu_and_the_next_gets_them(eight: None) -> None:
    wanted = engine_specs("large", "small", pair="qwen3")
    with held(wanted), held(wanted) as (large, small):
        assert (large.gpu_ids, small.gpu_ids) == (("3", "4"), ("5",))
        with (
            pytest.raises(UserError, match=r"need 3 GPUs, other jobs .* use all but 2 of the 8"),
            held(wanted),
        ):
            pass
    with held(wanted) as (large, _):
        assert large.gpu_ids == ("0", "1")


def test_one_gpu_is_not_given_away_twice_by_another_name(
    eight: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = engine_specs("small", pair="qwen3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{UUIDS[5]},6")
    with held(wanted) as (first,):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
        with held(wanted) as (second,):
            assert (first.gpu_ids, second.gpu_ids) == ((UUIDS[5],), ("6",))


def test_a_file_system_without_locks_stops_nobody(
    eight: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with held(engine_specs("small", pair="qwen3")) as (small,):
        assert small.gpu_ids == ("0",)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("2,3", ["2", "3"]),
        (f" {UUIDS[1]}, {UUIDS[0]}", [UUIDS[1], UUIDS[0]]),
        ("", []),
        ("1,-1,2", ["1"]),
    ],
)
def test_gpus_that_were_allotted_are_those_that_are_used(
    eight: None, monkeypatch: pytest.MonkeyPatch, given: str, used: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert names() == used


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("NoDevFiles", "'NoDevFiles': Slurm gave this job no GPU"),
        ("GPU-5a2b", "'GPU-5a2b', which is neither a number nor a full UUID"),
        ("MIG-5a2b91c0-0000-0000-0000-000000000000", "parts of a GPU .MIG. cannot be used"),
        ("0,9", "names '9', and nvidia-smi finds no such GPU"),
    ],
)
def test_an_allotment_that_cannot_be_used_is_one_line(
    eight: None, monkeypatch: pytest.MonkeyPatch, given: str, message: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    with pytest.raises(UserError, match=message):
        visible_gpus()


def test_without_an_allotment_all_gpus_of_the_machine_are_used(nvidia_smi: NvidiaSmi) -> None:
    nvidia_smi(listed(2))
    assert names() == ["0", "1"]


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        (listed(1, driver="570.124.06"), "driver here is 570.124.06: CUDA 13, .* needs 580 or"),
        (listed(1, mig="Enabled"), r"GPU 0 is divided \(MIG\), and engines take whole ones"),
    ],
)
def test_gpus_that_no_engine_can_use_are_one_line(
    nvidia_smi: NvidiaSmi, printed: str, message: str
) -> None:
    nvidia_smi(printed)
    with pytest.raises(UserError, match=message):
        visible_gpus()


def test_a_divided_gpu_that_is_not_to_be_used_does_no_harm(
    nvidia_smi: NvidiaSmi, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(f"{listed(1)}\n1, {UUIDS[1]}, 580.65.06, Enabled")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert names() == ["0"]


def test_a_driver_that_does_not_answer_is_named(nvidia_smi: NvidiaSmi) -> None:
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    nvidia_smi(f"{said}\nEND\nexit 9\ncat <<'END'")
    with pytest.raises(UserError, match=f"nvidia-smi finds no GPU: {said}"):
        visible_gpus()


def test_a_machine_without_the_driver_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no nvidia-smi here, so no NVIDIA driver"):
        visible_gpus()
