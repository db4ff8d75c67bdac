"""Helpers of the unit tests."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.analysis import cue_sets
from stages.config import catalogue, families
from stages.config.params import load
from stages.config.schema import Params
from stages.engine.spec import EngineSpec, specs
from stages.tracking import code, commands, digests, host, memory, recipes

# What is read once per process: texts of the project, and what is remembered of its files, which
# notices an edit by itself.
TEXTS: tuple[Callable[[], None], ...] = (
    code.source.cache_clear,
    commands.commands.cache_clear,
    catalogue.catalogue.cache_clear,
    families.of_file.cache_clear,
    cue_sets.reference.cache_clear,
    recipes.code_of.cache_clear,
    recipes.locked_vllm.cache_clear,
)
REMEMBERED: tuple[Callable[[], None], ...] = (
    code.memory.cache_clear,
    digests.memory.cache_clear,
    host.output.cache_clear,
)
OWN_MEMORY = memory.FOLDER
ROUTER = "demo_pair/router/model.safetensors"
COPIED = ("containers", "data", "demo_pair", "stages", "workflow")


def engine_specs(*roles: str, pair: str = "demo") -> list[EngineSpec]:
    """Specs of a pair's engines with three requests in flight."""
    params = load(Path("params.yaml"))
    return specs(params.pair(pair), params.engines, roles, concurrency=3)


@cache
def parsed(text: str) -> dict[str, Any]:
    """A YAML text, read once: it takes longer than most tests."""
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def changed(key: str, value: Any) -> dict[str, Any]:
    """The project's params.yaml with one dotted key set (None as value: removed)."""
    content = deepcopy(parsed(Path("params.yaml").read_text()))
    *path, last = key.split(".")
    block = content
    for part in path:
        block = block[part]
    if value is None:
        del block[last]
    else:
        block[last] = value
    return content


def params_with(key: str, value: Any) -> Params:
    """The same, read."""
    return Params.model_validate(changed(key, value))


def read_texts_anew() -> None:
    """Have the project's texts read again: one of them was edited."""
    for clear in TEXTS:
        clear()


def forget() -> None:
    """Have all that is read once read again: it lies in another folder."""
    read_texts_anew()
    for clear in REMEMBERED:
        clear()


@pytest.fixture(scope="session", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered of the checkout's files is remembered outside of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "FOLDER", tmp_path_factory.mktemp("memory"))
        yield


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder as the current one; what is remembered of files is remembered there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "FOLDER", OWN_MEMORY)
    forget()
    yield tmp_path
    forget()


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have nvidia-smi print a text; all GPUs of the machine may be used."""
    program = tmp_path / "bin/nvidia-smi"
    program.parent.mkdir()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")

    def print_(text: str) -> None:
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        program.chmod(0o755)

    return print_


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project as the current folder, to edit, with a few bytes for weights."""
    folder = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.sif", "base", "checkpoints")
    for name in COPIED:
        shutil.copytree(name, folder / name, ignore=ignored)
    for weights in Path("demo_pair").glob("*/*.safetensors"):
        (folder / weights).write_text(f"{weights}")
    shutil.copy2(ROUTER, folder / ROUTER)  # read whenever params.yaml is
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy2(name, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(code, "ROOT", folder)
        patch.setattr(memory, "FOLDER", OWN_MEMORY)
        forget()
        yield folder
    forget()


@contextmanager
def edited(name: str, *replaced: tuple[str, str], end: str = "") -> Iterator[None]:
    """A file of the project as it is after an edit; `end`: what is written at its end."""
    file = Path(name)
    before, stat = file.read_text(), file.stat()
    text = before
    for old, new in replaced:
        assert old in text, f"{name} does not hold {old!r}"
        text = text.replace(old, new)
    file.write_text(text + end)
    read_texts_anew()
    try:
        yield
    finally:
        file.write_text(before)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        read_texts_anew()
