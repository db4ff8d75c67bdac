"""Helpers that tests of several folders share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from stages.analysis.replay import read_tokenizer

# Tests of one group run in one process, where several share the work: they share what is started.
GROUPS = {
    "tests/end_to_end/test_bundled_pair.py": "bundled pair",
    "tests/end_to_end/test_containers.py": "images",
    "tests/end_to_end/test_slurm.py": "images",
    "tests/end_to_end": "finished runs",
    "tests/integration": "engines",
    "tests/gpu": "engines",
}

ROOT = Path(__file__).resolve().parents[1]
TOKENIZER = read_tokenizer(ROOT / "demo_pair/large")


class Grouped(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Each group of tests in one process; all other tests by themselves."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the group of a test."""
        return next((group for place, group in GROUPS.items() if nodeid.startswith(place)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Grouped | None:
    """Take GROUPS for `--dist loadgroup`: xdist's own groups need an older pytest."""
    return Grouped(config, log) if config.getvalue("dist") == "loadgroup" else None


def encode(text: str) -> list[int]:
    """Token ids of the bundled pair."""
    return list(TOKENIZER.encode(text, add_special_tokens=False).ids)


def locked(name: str) -> dict[str, str]:
    """Package to version, of a lock file; less what is for a later Python than the images'."""
    text = (ROOT / f"containers/{name}.lock").read_text()
    lines = re.findall(r"^([a-z0-9.-]+)==([^\s;]+)(.*)$", text, re.MULTILINE)
    return {package: version for package, version, marker in lines if ">= '3.12'" not in marker}


def raising(error: Exception) -> Callable[..., Any]:
    """A function that raises `error`."""

    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


def answered(kind: type[HfHubHTTPError], status: int) -> HfHubHTTPError:
    """What the hub's client makes of an answer with that status."""
    request = httpx2.Request("GET", "https://hub/")
    return kind(f"{status} Error\n\nat length", response=httpx2.Response(status, request=request))
