"""Every result says where it came from."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

from stages import tables
from stages.config.params import load
from stages.runtime.errors import UserError
from stages.tracking import digests, host, provenance, recipes
from stages.tracking.files import Row
from stages.tracking.frames import write_csv, write_parquet
from stages.tracking.notes import read_provenance, write_provenance
from stages.tracking.recipes import Job, job_of
from stages.tracking.targets import Target

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Every answer came to its end.
COMPLETE = {"cut_percent": 0.0, "no_answer_percent": 0.0, "n_problems": 1, "n_repeats": 1}
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


def job(stage: str, name: str | None = None) -> Job:
    """What a stage of the bundled pair starts from."""
    return job_of(PARAMS, Target(stage, "demo", name))


def answered(problems: Path, *sessions: Row) -> Row:
    """The provenance of answers to these problems."""
    return provenance.of_answers(job("traces"), sessions or [provenance.session([])], problems)


@pytest.fixture
def table(problems: Path, tmp_path: Path) -> Path:
    """A table of answers to the problems, in two formats."""
    answers = tmp_path / "answers.parquet"
    write_parquet(answers, pl.DataFrame({"problem_id": [0]}), answered(problems))
    csv = tmp_path / "table.csv"
    write_csv(csv, pl.DataFrame({"a": [1]}))
    csv.with_suffix(".md").write_text("| a |\n")
    origin = provenance.derived(job("summary"), [answers])
    write_provenance(origin, csv, csv.with_suffix(".md"))
    return csv


def printed(file: Path) -> Row:
    """What `relaygen provenance FILE` prints."""
    content: Row = yaml.safe_load(provenance.in_words(str(file), provenance.of_file(file)))
    return content


@pytest.mark.parametrize("suffix", [".csv", ".md"])
def test_a_table_names_all_that_it_is_made_from_in_every_format(table: Path, suffix: str) -> None:
    file = table.with_suffix(suffix)
    content = printed(file)
    answers, problems = (str(table.parent / f"{x}.parquet") for x in ("answers", "problems"))
    assert list(content) == ["in common", str(file), answers, problems]
    assert content[str(file)]["settings.bootstrap"] == PARAMS.tables.bootstrap
    assert content[str(file)]["made_from"] == [answers]
    assert content[answers]["engine"] == provenance.engine_version()
    assert content[problems] == {"source": "hub", "revision": COMMIT}


def test_a_table_says_which_recipe_it_was_made_by(table: Path) -> None:
    recipe = job("summary").recipe
    assert printed(table)[str(table)]["recipe"] == recipes.digest(recipe)
    assert provenance.of_file(table)["recipe"]["content"] == recipe


def test_what_files_share_is_printed_once(table: Path) -> None:
    content = printed(table)
    assert content["in common"]["git_commit"] == host.git_commit()
    assert not any("git_commit" in parts for name, parts in content.items() if name != "in common")


def test_answers_name_their_problems_and_a_problem_set_its_source(problems: Path) -> None:
    origin = answered(problems)
    assert origin["behind"] == {str(problems): {"source": "hub", "revision": COMMIT}}
    assert origin["inputs"] == digests.of_files([problems])
    assert printed(problems) == {str(problems): read_provenance(problems)}


def test_a_file_without_a_note_stays_among_what_a_result_is_made_from(tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl"
    file.touch()
    words = yaml.safe_load(provenance.in_words("x.csv", provenance.derived(None, [file])))
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
    for name in ("notes.txt", "damaged.csv"):
        (tmp_path / name).touch()
    (tmp_path / "damaged.provenance.json").write_text("{")
    for name, message in {
        "gone.csv": "no such file",
        ".": "a folder",
        "bare.parquet": "no provenance in it",
        "torn.parquet": "not a Parquet file",
        "notes.txt": "no notes.provenance.json beside it",
        "damaged.csv": "damaged.provenance.json: damaged; remove damaged.csv and make it again",
    }.items():
        with pytest.raises(UserError, match=message):
            provenance.of_file(tmp_path / name)


def test_tables_are_the_same_bytes_whatever_their_provenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summaries, out = tmp_path / "summaries", tmp_path / "tables"
    rows: dict[str, Row] = {
        "accuracy": {
            "method": "large", "benchmark": "b", "pass_at_1": 50.0, "ci_low": 40.0, "ci_high": 60.0,
            "pass_at_k": None, "majority_at_k": None, "mean_tokens": 5.0,
            "large_utilization": 100.0, **COMPLETE,
        },
        "differences": {
            "method": "small", "benchmark": "b", "difference": 0.0, "ci_low": -1.0, "ci_high": 1.0,
            "verdict": "undecided", "n_problems": 1, "n_repeats": 1,
        },
        "policies": {
            "method": "large", "benchmark": "b", "pass_at_1": 50.0, "ci_low": 40.0, "ci_high": 60.0,
            "large_utilization": 100.0, "utilization_low": 100.0, "utilization_high": 100.0,
            "dominated_by": "",
        },
        "speed": {
            "method": "large", "speedup": 1.0, "speedup_sd": 0.0, "ci_low": 1.0, "ci_high": 1.0,
            "large_utilization": 100.0, "large_utilization_sd": 0.0, "tokens_per_s": 1.0,
            "acceptance_length": None, "bound": None,
            "bound_percent": None, "n_problems": 1, "n_runs": 1,
        },
        "cue_ablation": {
            "cue_set": "relaygen", "benchmark": "b", "pass_at_1": 50.0, "large_utilization": 40.0,
                **COMPLETE,
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
    before = {file: file.read_bytes() for file in out.iterdir() if file.is_file()}
    monkeypatch.setattr(host, "git_commit", lambda: "another")
    tables.main()
    for file, content in before.items():
        if file.suffix != ".json":
            assert file.read_bytes() == content
            origin = read_provenance(file)
            assert origin["git_commit"] == "another"
            behind = "accuracy" if file.stem == "numbers" else file.stem
            assert origin["behind"][str(summaries / "demo" / f"{behind}.csv")] == RUN
    assert len(before) == 4 * len(rows) + 2


LATER: Row = {**RUN, "started": "2026-02-04T10:00:00+00:00", "container": "image.sif"}


def test_answers_of_one_session_are_its_own_and_of_several_name_each_once(problems: Path) -> None:
    one = answered(problems, RUN, RUN)
    assert one["sessions"] == [RUN]
    assert provenance.flat(one)["git_commit"] == COMMIT
    two = answered(problems, RUN, LATER, RUN)
    assert two["sessions"] == [RUN, LATER]
    assert provenance.flat(two)["sessions"] == [RUN, LATER]


def test_a_line_covers_all_sessions_of_the_answers(problems: Path) -> None:
    line = provenance.in_one_line([answered(problems, RUN, LATER)])
    assert "no container · container image.sif" in line
    assert line.endswith("2026-02-03 to 2026-02-04")


def test_answers_that_another_stage_asked_for_have_its_recipe_and_models(problems: Path) -> None:
    asked = job("infer", "relaygen").record
    origin = provenance.of_answers(job("merge", "relaygen"), [RUN], problems, asked_by=asked)
    assert origin["recipe"] == job("merge", "relaygen").record
    assert origin["asked_by"] == asked
    assert list(origin["models"]) == ["large", "small"]


def test_answers_put_together_again_have_the_same_provenance(
    problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answered(problems, RUN)
    monkeypatch.setattr(host, "here_and_now", lambda: {"git_commit": "another", "started": "later"})
    assert answered(problems, RUN) == before


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
    assert commit().startswith("unknown (not a git repository")
    git("init", "-q")
    assert commit().startswith("unknown (ambiguous argument 'HEAD'")
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


def test_a_checkout_of_another_owner_and_a_missing_git_are_why_a_commit_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = tmp_path / "git"
    git.write_text(
        "#!/bin/sh\necho \"fatal: detected dubious ownership in repository at '/shared'\" >&2\n"
        "echo To add an exception, call: git config >&2\nexit 128\n",
        encoding="utf-8",
    )
    git.chmod(0o755)
    monkeypatch.delenv(host.COMMIT, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(host, "output", lambda *command: "")
    assert host.git_commit() == "unknown (detected dubious ownership in repository at '/shared')"
    git.unlink()
    assert host.git_commit() == "unknown (git is not installed)"
