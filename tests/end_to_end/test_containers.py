"""The pipeline in containers, with Apptainer itself: the host's tables again, and nothing left."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from stages.tracking.host import sha256
from stages.tracking.notes import read_provenance
from tests.end_to_end.conftest import ROOT, Images, in_containers, run, succeed, write_params
from tests.end_to_end.test_pipeline import TABLES
from tests.unit.test_locks import locked

pytestmark = pytest.mark.end_to_end

TOKEN = "hf_" + 8 * "secret"  # not in one piece in this file, which is in every checkout
PACKAGE = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)


@pytest.fixture(scope="session")
def contained(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which `dvc repro` went through in containers, with a token of the hub."""
    folder = in_containers(tmp_path_factory.mktemp("contained"), images)
    run(folder, "git", "add", "--all")
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    succeed(folder, "git", *author, "commit", "--quiet", "--message", "all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", TOKEN)
        succeed(folder, "dvc", "repro")
    return folder


@pytest.fixture
def other(images: Images, tmp_path: Path) -> Path:
    """A checkout in which nothing has run, to run in containers."""
    return in_containers(tmp_path, images)


def left_behind(folder: Path, patience_s: float = 20) -> list[str]:
    """Processes, in containers or outside, that still have to do with `folder` after a while."""
    deadline = time.monotonic() + patience_s
    while (found := list(concerned(folder))) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def concerned(folder: Path) -> Iterator[str]:
    """Processes with `folder` among their mounts, or in their command line."""
    for process in psutil.process_iter():
        try:
            mounts = Path(f"/proc/{process.pid}/mountinfo").read_text()
            command = " ".join(process.cmdline())
        except (psutil.Error, OSError):
            continue
        if str(folder) in mounts or str(folder) in command:
            yield f"{process.pid} {command}"


def mounted(images: Images) -> list[str]:
    """Where an image is still attached or mounted."""
    loops = subprocess.run(["losetup", "--list"], capture_output=True, text=True, check=True).stdout
    lines = [*loops.splitlines(), *Path("/proc/mounts").read_text().splitlines()]
    names = (str(images.pipeline), str(images.engine), "apptainer/mnt/session")
    return [line for line in lines if any(name in line for name in names)]


def test_the_tables_are_those_of_the_host(repro: Path, contained: Path) -> None:
    for table in TABLES:
        assert (contained / table).read_bytes() == (repro / table).read_bytes()


def test_results_and_report_say_which_image_they_are_from(
    repro: Path, contained: Path, images: Images
) -> None:
    answers = "results/demo/generations/relaygen/chains_short.parquet"
    assert read_provenance(contained / answers)["container"] == f"sha256:{sha256(images.engine)}"
    table = read_provenance(contained / TABLES[0])
    assert table["container"] == f"sha256:{sha256(images.pipeline)}"
    commit = run(contained, "git", "rev-parse", "HEAD").stdout.strip()
    assert table["git_commit"].startswith(commit)
    assert f"container sha256:{sha256(images.engine)[:10]}" in report(contained)
    assert read_provenance(repro / answers)["container"] == "none"
    assert "no container" in report(repro)


def report(folder: Path) -> str:
    return (folder / "results/report.html").read_text()


def test_the_hubs_token_is_in_no_file(contained: Path) -> None:
    files = [file for file in contained.rglob("*") if file.is_file()]
    assert len(files) > 100
    assert [file for file in files if TOKEN.encode() in file.read_bytes()] == []


def test_nothing_is_left_after_success(contained: Path, images: Images) -> None:
    assert left_behind(contained) == []
    assert mounted(images) == []


def test_nothing_is_left_after_failure(other: Path, images: Images) -> None:
    (other / "demo_pair/large/model.safetensors").write_bytes(b"")
    result = run(other, "snakemake", "--cores", "2", "--", "results/demo/traces.parquet")
    assert result.returncode != 0
    assert "engine 'large' died while starting" in result.stdout + result.stderr
    assert left_behind(other) == []
    assert mounted(images) == []


def test_nothing_is_left_after_ctrl_c(other: Path, images: Images) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--"]
    workflow = subprocess.Popen(
        [*command, "results/demo/traces.parquet"],
        cwd=other,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        start_new_session=True,
    )
    wait_for(other / "logs/demo/traces/engine-large.log")
    assert list(concerned(other))
    os.killpg(workflow.pid, signal.SIGINT)
    assert workflow.wait(timeout=60) != 0
    assert left_behind(other) == []
    assert mounted(images) == []


def wait_for(file: Path, timeout_s: float = 120) -> None:
    """Return when something has been written to `file`."""
    deadline = time.monotonic() + timeout_s
    while not (file.exists() and file.stat().st_size):
        assert time.monotonic() < deadline, f"nothing in {file}"
        time.sleep(0.1)


def test_a_container_sees_of_the_host_the_project_alone(other: Path, images: Images) -> None:
    rules = (
        "include: 'Snakefile'\n"
        "rule look:\n    output: 'seen'\n    log: 'look.log'\n"
        "    shell: 'env > {output}; ls -A / /home /root /tmp >> {output}; '\n"
        f"        'test ! -e {ROOT}/README.md; test -e README.md'\n"
    )
    (other / "look.smk").write_text(rules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OF_THE_HOST", "1")
        succeed(other, "snakemake", "--cores", "1", "--snakefile", "look.smk", "--", "seen")
    assert "OF_THE_HOST" not in (other / "seen").read_text()


@pytest.mark.parametrize("name", ["pipeline", "engine-cpu"])
def test_an_image_has_the_packages_of_its_lock_file_and_no_others(
    name: str, images: Images
) -> None:
    listed = run(
        ROOT, "apptainer", "exec", "--containall", f"containers/{name}.sif", "pip", "freeze"
    )
    packages = {re.sub(r"[._]", "-", one).lower(): v for one, v in PACKAGE.findall(listed.stdout)}
    assert len(packages) > 100
    assert packages.items() <= locked(name).items()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("no.sif", "no.sif: no such image; `make containers`"),
        ("params.yaml", "params.yaml: Apptainer cannot read it"),
    ],
)
def test_an_image_that_cannot_do_is_one_line_before_any_job(
    image: str, message: str, other: Path
) -> None:
    params = yaml.safe_load((other / "params.yaml").read_text())
    params["containers"]["engine"] = image
    write_params(other, params)
    result = run(other, "snakemake", "--cores", "1")
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert not (other / "results").exists()
