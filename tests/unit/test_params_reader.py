"""params.yaml has one reader: what a stage reads of it is what DVC reads."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import parse_yaml

from stages.config.params import load, read
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit

# {a scalar of YAML: its value}. YAML 1.1 has other values for most of them.
SCALARS: dict[str, Any] = {
    "010000": 10000,
    "0777": 777,
    "08": 8,
    "0o17": 15,
    "0x1F": 31,
    "1_000": 1000,
    "+1": 1,
    "1e3": 1000.0,
    "1E3": 1000.0,
    "1e-3": 0.001,
    "1.0e+3": 1000.0,
    ".5": 0.5,
    "-.5": -0.5,
    "5.": 5.0,
    "1:30": "1:30",
    "190:20:30": "190:20:30",
    "1:30.5": "1:30.5",
    "yes": "yes",
    "No": "No",
    "on": "on",
    "OFF": "OFF",
    "y": "y",
    "true": True,
    "True": True,
    "FALSE": False,
    "null": None,
    "~": None,
    "": None,
    "inf": "inf",
    ".inf": math.inf,
    "'1e3'": "1e3",
    '"no"': "no",
}


def written(folder: Path, text: str) -> Path:
    """A file params.yaml."""
    file = folder / "params.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(("scalar", "value"), SCALARS.items())
def test_a_scalar_is_what_yaml_1_2_and_dvc_say(tmp_path: Path, scalar: str, value: Any) -> None:
    text = f"key: {scalar}\n"
    mine = read(written(tmp_path, text))
    assert mine == parse_yaml(text, "params.yaml") == {"key": value}
    assert type(mine["key"]) is type(value)


def test_the_projects_file_is_what_dvc_reads() -> None:
    file = Path("params.yaml")
    assert read(file) == parse_yaml(file.read_text(encoding="utf-8"), file)


def test_anchors_are_merged_and_what_stands_beside_the_merge_wins(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {z: 3}\nc: {<<: [*a, *b], y: 4}\n"
    merged = read(written(tmp_path, text))
    assert merged["c"] == {"x": 1, "y": 4, "z": 3}
    assert merged == parse_yaml(text, "params.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nrun: [demo]\nseed: 2\n", r"line 3: the key 'seed' is there twice: remove one"),
        ("infer:\n  retries: 1\n  retries: 1\n", r"line 3: the key 'retries' is there twice"),
        ("a: &a {x: 1}\nb: {<<: *a, <<: *a}\n", r"line 2: the key '<<' is there twice"),
        ("1: a\n01: b\n", r"line 2: the key '1' is there twice"),
        ("seed: ._\n", "not valid YAML: could not convert"),
        ("seed: *x\n", r"not valid YAML: line 1: found undefined alias"),
        ("a: 1\n---\nb: 2\n", "not valid YAML: line 2: but found another document"),
        ("a:\n\tb: 1\n", r"not valid YAML: .*line 2"),
        ("seed: !!python/name:os.system\n", "not valid YAML: line 1: could not determine a"),
        ("seed: " + "1" * 5000 + "\n", "not valid YAML: Exceeds the limit"),
        ("seed: " + "[" * 3000 + "]" * 3000 + "\n", "seed: Input should be a valid integer;"),
        ("", "params.yaml: a block of keys and values is needed"),
        ("- seed\n", "params.yaml: a block of keys and values is needed"),
        ("pairs: &a\n  demo: *a\n", r"pairs\.demo"),
    ],
)
def test_what_is_no_yaml_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(written(tmp_path, text))
    assert str(caught.value).startswith(f"{tmp_path / 'params.yaml'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"seed: 1\nname: caf\xe9\n", "seed: 1\n".encode("utf-16")])
def test_another_encoding_than_utf_8_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"not UTF-8 text .*: save it as UTF-8"):
        load(file)


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path: Path) -> None:
    assert read(written(tmp_path, "\ufeffseed: 1\n")) == {"seed": 1}


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_reading_takes_no_longer_than_a_start_can_bear() -> None:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        read(Path("params.yaml"))
        took.append(time.perf_counter() - began)
    assert min(took) < 0.06
