"""Every result says where it came from, and what shapes answers alone decides what is resumed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

from stages.analysis import paper_tables as tables
from stages.config.params import load
from stages.config.schema import Model
from stages.engine.spec import EngineSpec
from stages.runtime.errors import UserError
from stages.tracking import host, provenance
from stages.tracking.files import Row
from stages.tracking.frames import write_csv, write_parquet
from stages.tracking.notes import read_provenance, write_provenance

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"
RUN: Row = {
    "models": {"large": "1111111111111111", "small": "2222222222222222"},
    "engine": "vllm 1.0",
    "git_commit": COMMIT,
    "container": "none",
    "hardware": {"cpu": "A CPU", "cores": 8, "gpus": []},
    "started": "2026-02-03T10:00:00+00:00",
}


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """Commands are asked again in every test."""
    host.output.cache_clear()
    yield
    host.output.cache_clear()


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """A problem set that knows its source."""
    path = tmp_path / "problems.parquet"
    write_parquet(path, pl.DataFrame({"problem_id": [0]}), {"source": "hub", "revision": COMMIT})
    return path


def answered(problems: Path, budget: int = 9) -> Row:
    model = problems.parent / "model"
    model.mkdir(exist_ok=True)
    spec = EngineSpec("large", Model(model=str(model)), "float32", 64, 1, 1, 1, 0.8)
    return provenance.of_answers(PARAMS, "demo", [spec], problems, budget=budget)


@pytest.fixture
def table(problems: Path, tmp_path: Path) -> Path:
    """A table of answers to the problems, in two formats."""
    answers = tmp_path / "answers.parquet"
    write_parquet(answers, pl.DataFrame({"problem_id": [0]}), answered(problems))
    csv = tmp_path / "table.csv"
    write_csv(csv, pl.DataFrame({"a": [1]}))
    csv.with_suffix(".md").write_text("| a |\n")
    origin = provenance.derived([answers], bootstrap=5)
    write_provenance(origin, csv, csv.with_suffix(".md"))
    return csv


def printed(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Row:
    monkeypatch.setattr(sys, "argv", ["provenance", str(file)])
    provenance.main()
    content: Row = yaml.safe_load(capsys.readouterr().out)
    return content


@pytest.mark.parametrize("suffix", [".csv", ".md"])
def test_a_table_names_all_that_it_is_made_from_in_every_format(
    table: Path, suffix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = table.with_suffix(suffix)
    content = printed(file, monkeypatch, capsys)
    answers, problems = (str(table.parent / f"{x}.parquet") for x in ("answers", "problems"))
    assert list(content) == ["in common", str(file), answers, problems]
    assert content[str(file)]["settings.bootstrap"] == 5
    assert content[str(file)]["made_from"] == [answers]
    assert content[answers]["engine"] == provenance.engine_version()
    assert content[problems] == {"source": "hub", "revision": COMMIT}


def test_what_files_share_is_printed_once(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = printed(table, monkeypatch, capsys)
    assert content["in common"]["git_commit"] == host.git_commit()
    assert not any("git_commit" in parts for name, parts in content.items() if name != "in common")


def test_answers_name_their_problems_and_a_problem_set_its_source(
    problems: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = answered(problems)
    assert origin["behind"] == {str(problems): {"source": "hub", "revision": COMMIT}}
    assert printed(problems, monkeypatch, capsys) == {str(problems): read_provenance(problems)}


def test_a_file_without_a_note_stays_among_what_a_result_is_made_from(tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl"
    file.touch()
    words = yaml.safe_load(provenance.in_words("x.csv", provenance.derived([file])))
    assert words[str(file)] == "not noted"


def test_a_file_that_was_changed_has_no_provenance(table: Path) -> None:
    table.write_text("a\n2\n")
    assert read_provenance(table) == {}
    assert read_provenance(table.with_suffix(".md"))
    with pytest.raises(UserError, match=r"table\.csv: table\.provenance\.json is about other"):
        provenance.of_file(table)


def test_what_cannot_be_told_is_one_line(tmp_path: Path) -> None:
    write_parquet(tmp_path / "bare.parquet", pl.DataFrame({"a": [1]}))
    (tmp_path / "torn.parquet").write_text("PAR1")
    (tmp_path / "notes.txt").touch()
    for name, message in {
        "gone.csv": "no such file",
        ".": "a folder",
        "bare.parquet": "no provenance in it",
        "torn.parquet": "not a Parquet file",
        "notes.txt": "no notes.provenance.json beside it",
    }.items():
        with pytest.raises(UserError, match=message):
            provenance.of_file(tmp_path / name)


def test_tables_are_the_same_bytes_whatever_their_provenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summaries, out = tmp_path / "summaries", tmp_path / "tables"
    rows = {
        "accuracy": {"method": "large", "benchmark": "b", "pass_at_1": 50.0},
        "speed": {
            "method": "large", "speedup": 1.0, "speedup_sd": 0.0, "large_utilization": 100.0,
            "large_utilization_sd": 0.0, "acceptance_length": None, "bound": None,
            "bound_percent": None,
        },
        "cue_ablation": {
            "cue_set": "relaygen", "benchmark": "b", "pass_at_1": 50.0, "large_utilization": 40.0,
        },
        "answer_stage": {"benchmark": "b", "n": 1, "consistent_percent": 100.0},
        "left_out": {"left_out": "b", "reason": "gated"},
    }  # fmt: skip
    for name, row in rows.items():
        file = summaries / "demo" / f"{name}.csv"
        write_csv(file, pl.DataFrame({"pair": ["demo"], **{k: [v] for k, v in row.items()}}))
        write_provenance(RUN, file)
    arguments = ["tables", "--summaries", str(summaries), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    tables.main()
    before = {file: file.read_bytes() for file in out.iterdir()}
    monkeypatch.setattr(host, "git_commit", lambda: "another")
    tables.main()
    for file, content in before.items():
        if file.suffix != ".json":
            assert file.read_bytes() == content
            origin = read_provenance(file)
            assert origin["git_commit"] == "another"
            assert origin["behind"][str(summaries / "demo" / f"{file.stem}.csv")] == RUN
    assert len(before) == 4 * len(rows)


def test_unfinished_work_is_found_again_by_what_shapes_it_alone(
    problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shard(budget: int = 9) -> Path:
        return provenance.shard_path("demo", "x", answered(problems, budget))

    first = shard()
    monkeypatch.setattr(host, "here_and_now", lambda: {"git_commit": "another", "started": "later"})
    assert shard() == first
    assert shard(budget=10) != first


def test_parts_of_one_run_are_one_and_others_say_what_differs() -> None:
    later = {**RUN, "started": "2026-02-04T10:00:00+00:00", "container": "image.sif"}
    assert provenance.of_parts([RUN]) == RUN
    together = provenance.of_parts([RUN, later])
    assert together["models"] == RUN["models"]
    assert together["parts"] == [
        {"container": "none", "started": RUN["started"]},
        {"container": "image.sif", "started": later["started"]},
    ]
    line = provenance.in_one_line([together])
    assert "no container · container image.sif" in line
    assert line.endswith("2026-02-03 to 2026-02-04")


def test_methods_that_agree_are_one_line() -> None:
    assert provenance.in_one_line([{"settings": {}}, RUN, RUN]) == (
        "commit 0123456789 · vllm 1.0 · large 1111111111 · small 2222222222 · "
        "no container · A CPU, 8 cores · 2026-02-03"
    )


def test_a_line_names_models_of_the_hub_by_revision_and_counts_gpus() -> None:
    hub = {
        **RUN,
        "models": {"eagle3": ["Org/Large", COMMIT, "Org/head", "f" * 40]},
        "hardware": {"cpu": "A CPU", "cores": 8, "gpus": ["A GPU", "A GPU"]},
    }
    line = provenance.in_one_line([hub])
    assert "eagle3 Org/Large 0123456789 Org/head ffffffffff" in line
    assert "2 x A GPU, A CPU, 8 cores" in line


def test_without_a_run_behind_it_there_is_no_line() -> None:
    assert provenance.in_one_line([{"settings": {"bootstrap": 5}}, {}]) == ""


def test_the_seconds_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = host.process_start()
    monkeypatch.setattr("time.time", lambda: begun + 12.3)
    assert provenance.finished({"seed": 1}) == {"seed": 1, "seconds": 12}


@pytest.mark.parametrize("variable", ["APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"])
def test_a_container_is_known_by_its_digest_or_else_by_its_name(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        monkeypatch.delenv(name, raising=False)
    assert host.container() == "none"
    image = tmp_path / "pipeline.sif"
    monkeypatch.setenv(variable, str(image))
    assert host.container() == "pipeline.sif"
    image.write_bytes(b"image")
    digest = subprocess.run(["sha256sum", image], capture_output=True, text=True, check=True)
    assert host.container() == f"sha256:{digest.stdout.split()[0]}"
    (tmp_path / "pipeline.sif.sha256").write_text("abc  pipeline.sif\n")
    assert host.container() == "sha256:abc"
    os.utime(image, (2e9, 2e9))  # another image since
    assert host.container() == f"sha256:{digest.stdout.split()[0]}"


def test_hardware_is_named_by_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "CPUINFO", tmp_path / "cpuinfo")
    host.CPUINFO.write_text("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nflags\t\t: fpu\n")
    assert host.cpu() == "A CPU @ 2 GHz"
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho A GPU\necho A GPU\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert host.gpus() == ["A GPU", "A GPU"]


@pytest.mark.parametrize("script", [None, "#!/bin/sh\necho no driver\nexit 9\n"])
def test_without_a_working_gpu_tool_there_are_no_gpus(
    script: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:
        (tmp_path / "nvidia-smi").write_text(script)
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert host.gpus() == []


def test_a_commit_is_marked_if_code_differs_and_not_for_what_dvc_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*command: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True, capture_output=True)

    def commit() -> str:
        host.output.cache_clear()
        return host.git_commit()

    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    assert commit() == "unknown"
    for name in ("dvc.lock", "code.py"):
        (tmp_path / name).write_text("old")
    git("add", ".")
    git("commit", "-qm", "first")
    clean = commit()
    assert len(clean) == 40
    (tmp_path / "dvc.lock").write_text("new")
    assert commit() == clean
    (tmp_path / "code.py").write_text("new")
    assert commit() == f"{clean}-dirty"
