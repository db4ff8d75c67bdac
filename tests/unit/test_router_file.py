"""What a router's file must be, and whether it goes with a small model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from stages.engine.router_file import Sizes, check, read, sizes_of
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit
SIZES = Sizes(hidden=6, logits=4, dims=(8, 8, 5), expansion=2)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(sizes: Sizes = SIZES, drop: str = "", **metadata: str) -> Path:
        weights = {
            name: np.zeros(shape, "float32")
            for name, shape in sizes.shapes().items()
            if name != drop
        }
        save_file(weights, tmp_path / "router.safetensors", metadata)
        return tmp_path / "router.safetensors"

    return written


def test_sizes_and_threshold_are_read(write: Write) -> None:
    assert read(write(threshold="0.25")) == (SIZES, 0.25)


def test_the_published_size_is_one_of_them() -> None:
    published = Sizes(hidden=2048, logits=100, dims=(1024,) * 6, expansion=4)
    assert sizes_of(published.shapes()) == published


def test_a_router_that_fits_passes(write: Write) -> None:
    check(write(threshold="0.25"), {"hidden_size": 6, "vocab_size": 4})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_size": 7, "vocab_size": 9}, "model of width 6, and the small model's is 7"),
        ({"hidden_size": 6, "vocab_size": 3}, "it reads 4 logits, and the small model has 3"),
    ],
)
def test_a_router_for_another_model_is_refused(
    write: Write, config: dict[str, int], message: str
) -> None:
    with pytest.raises(UserError, match=rf"router\.safetensors: .*{message}"):
        check(write(threshold="0.25"), config)


def test_a_file_with_other_weights_is_refused(write: Write) -> None:
    with pytest.raises(UserError, match=r"not a router \(combined_projection.bias is missing"):
        read(write(drop="combined_projection.bias", threshold="0.25"))


def test_a_file_without_a_threshold_is_refused(write: Write) -> None:
    with pytest.raises(UserError, match="its metadata have no threshold"):
        read(write())


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "router.pt"
    file.write_bytes(b"a pickle")
    with pytest.raises(UserError, match=r"router\.pt: not a router .*`relaygen router` makes one"):
        read(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.safetensors: no such file"):
        read(tmp_path / "none.safetensors")
