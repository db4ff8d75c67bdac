"""Helpers that tests of several folders share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError

from stages.analysis.replay import read_tokenizer

# Tests of one group run in one process, where several share the work: they share what is started.
GROUPS = {
    "tests/end_to_end/test_bundled_pair.py": "bundled pair",
    "tests/end_to_end": "finished runs",
    "tests/integration": "engines",
    "tests/gpu": "engines",
}

ROOT = Path(__file__).resolve().parents[1]
TOKENIZER = read_tokenizer(ROOT / "demo_pair/large")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put each test into its group."""
    for item in items:
        place = item.nodeid.split("::")[0]
        for prefix, group in GROUPS.items():
            if place.startswith(prefix):
                item.add_marker(pytest.mark.xdist_group(group))
                break


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
