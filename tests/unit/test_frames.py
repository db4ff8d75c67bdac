"""Tables of another kind are refused in one line, before anything is started or written."""

import importlib
import sys
from pathlib import Path

import polars as pl
import pytest

from stages.analysis import grading
from stages.generation import answers, latency, margins, throughput, traces
from stages.problems import prompts
from stages.runtime.errors import UserError
from stages.tracking import frames
from stages.tracking.frames import Kind, alike, read_csv, read_parquet

pytestmark = pytest.mark.unit

SCHEMAS = {
    "prompts": (frames.PROMPTS, prompts.SCHEMA),
    "gold": (frames.GOLD, prompts.SCHEMA),
    "traces": (frames.TRACES, traces.SCHEMA),
    "margins": (frames.MARGINS, margins.SCHEMA),
    "answers": (frames.ANSWERS, answers.SCHEMA),
    "scores": (frames.SCORES, grading.SCHEMA),
    "latency": (frames.LATENCIES, latency.SCHEMA),
    "throughput": (frames.LOADS, throughput.SCHEMA),
}
# Some tables have all columns of others.
MORE = {("answers", "latency"), ("gold", "scores"), ("gold", "prompts"), ("prompts", "gold")}
MORE |= {("prompts", "traces")}
PAIRS = [(a, b) for a in SCHEMAS for b in SCHEMAS if a != b and (a, b) not in MORE]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_kind_is_that_of_the_tables_that_the_pipeline_writes(name: str, tmp_path: Path) -> None:
    kind, schema = SCHEMAS[name]
    schema.to_frame().write_parquet(tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet", kind).is_empty()


@pytest.mark.parametrize(("wanted", "given"), PAIRS)
def test_a_table_of_another_kind_is_refused(wanted: str, given: str, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    SCHEMAS[given][1].to_frame().write_parquet(path)
    with pytest.raises(UserError, match=r"t\.parquet: no column '.*; it should be ") as caught:
        read_parquet(path, SCHEMAS[wanted][0])
    assert str(caught.value).endswith(SCHEMAS[wanted][0].what)
    assert "\n" not in str(caught.value)


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"problem_id": ["a"], "gold": ["7"]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="the column 'problem_id' is of type String, not Int64"):
        read_parquet(tmp_path / "t.parquet", frames.GOLD)


def test_the_width_of_numbers_does_not_matter() -> None:
    assert alike(pl.Int32(), pl.Int64)
    assert alike(pl.Float32(), pl.Float64)
    assert alike(pl.Int64(), pl.Float64)
    assert not alike(pl.Float64(), pl.Int64)
    assert not alike(pl.String(), pl.Int64)


@pytest.mark.parametrize("content", [b"", b"PAR1", b'{"text": "Thus"}\n'])
@pytest.mark.parametrize("kind", [frames.TRACES, None])
def test_what_is_no_parquet_file_is_refused(
    content: bytes, kind: Kind | None, tmp_path: Path
) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"t\.parquet: not a Parquet file; ") as caught:
        read_parquet(tmp_path / "t.parquet", kind)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "no column 'pair', 'method', 'speedup'; it should be a table of speeds"),
        (b"pair,method,speedup\nr1,large,x\n", "the column 'speedup' is of type String"),
        (b"", "not a CSV file; it should be a table of speeds"),
        (b"pair,method,speedup\n\xff,\xfe,1\n", "not a CSV file"),
        (b"pair,method,speedup\n1,2,3,4,5\n", "not a CSV file"),
    ],
)
def test_a_csv_file_of_another_kind_is_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_csv(tmp_path / "t.csv", frames.SPEEDS)
    assert "\n" not in str(caught.value)


def test_names_that_look_like_numbers_are_texts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("pair,method,speedup\n007,1e5,1\n", encoding="utf-8")
    assert read_csv(tmp_path / "t.csv", frames.SPEEDS).rows() == [("007", "1e5", 1)]


def test_a_csv_file_without_rows_is_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("pair,method,speedup\n", encoding="utf-8")
    assert read_csv(tmp_path / "t.csv", frames.SPEEDS).is_empty()


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """A file that no stage takes, by every name that one may ask for."""
    frame = pl.DataFrame({"text": ["Thus"]})
    (tmp_path / "problems").mkdir()
    for name in ("traces", "margins", "scores", "latency", "problems/chains_short"):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    for name in ("accuracy", "cues", "speed", "demo/accuracy", "demo/policies"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        frame.write_csv(tmp_path / f"{name}.csv")
    return tmp_path


@pytest.mark.parametrize(
    ("stage", "options"),
    [
        ("margins", {"traces": "traces.parquet"}),
        ("cues", {"margins": "margins.parquet", "selected": "selected.yaml"}),
        ("traces", {"problems": "problems/chains_short.parquet"}),
        ("latency", {"problems": "problems/chains_short.parquet", "cue-sets": "."}),
        ("throughput", {"problems": "problems/chains_short.parquet", "cue-sets": "."}),
        ("speed", {"latency": "latency.parquet"}),
        ("summary", {"scores": "scores.parquet", "problems": "problems", "generations": "."}),
        (
            "figures",
            {
                "table": "accuracy.csv",
                "cues": "cues.csv",
                "speed": "speed.csv",
                "margins": "margins.parquet",
                "latency": "latency.parquet",
            },
        ),
        ("tables", {"summaries": "."}),
    ],
)
def test_a_stage_names_a_file_of_another_kind_before_it_starts_or_writes_anything(
    stage: str, options: dict[str, str], wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = [] if stage == "tables" else ["--pair", "demo"]
    given = [word for name, file in options.items() for word in (f"--{name}", str(wrong / file))]
    monkeypatch.setattr(sys, "argv", [stage, *pair, *given, "--out", str(wrong / "out")])
    with pytest.raises(UserError, match=r"\.(parquet|csv): no column '.*; it should be "):
        importlib.import_module(f"stages.{stage}").main()
    assert not (wrong / "out").exists()
