"""The pipeline in containers, with Apptainer itself: the host's tables again, and nothing left."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from stages.tracking.digests import sha256
from stages.tracking.notes import read_provenance
from tests.conftest import ROOT, locked
from tests.end_to_end.conftest import (
    REAL,
    TABLES,
    Images,
    check_tables,
    checkout,
    few_methods,
    held,
    run,
    started,
    succeed,
    until,
    wait_for_none,
    write_params,
)

pytestmark = pytest.mark.end_to_end

TOKEN = "hf_" + 8 * "secret"  # not in one piece in this file, which is in every checkout
PACKAGE = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)
TRACES = ("snakemake", "--cores", "2", "--", "results/demo/traces.parquet")


def in_containers(folder: Path, images: Images) -> Path:
    """A checkout whose params put every stage into a container."""
    return checkout(folder, few_methods() | {"containers": images.params})


@pytest.fixture(scope="session")
def contained(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which Snakemake went through in containers, with a token of the hub."""
    folder = in_containers(tmp_path_factory.mktemp("contained"), images)
    run(folder, "git", "add", "--all")
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    succeed(folder, "git", *author, "commit", "--quiet", "--message", "all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", TOKEN)
        succeed(folder, "snakemake", "--cores", "2")
    return folder


@pytest.fixture
def other(images: Images, tmp_path: Path) -> Path:
    """A checkout in which nothing has run, to run in containers."""
    return in_containers(tmp_path, images)


def left_behind(folder: Path) -> list[str]:
    """Processes, in containers or outside, that still have to do with `folder` after a while."""
    return wait_for_none(lambda: list(concerned(folder)), patience_s=20)


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


def test_the_tables_are_those_of_the_host(on_host: Path, contained: Path) -> None:
    check_tables(contained, on_host)


def test_results_and_report_say_which_image_they_are_from(
    on_host: Path, contained: Path, images: Images
) -> None:
    answers = "results/demo/generations/relaygen/chains_short.parquet"
    assert image_of(contained / answers) == f"sha256:{sha256(images.engine)}"
    table = read_provenance(contained / TABLES[0])
    assert table["container"] == f"sha256:{sha256(images.pipeline)}"
    commit = run(contained, "git", "rev-parse", "HEAD").stdout.strip()
    assert table["git_commit"].startswith(commit)
    assert f"container sha256:{sha256(images.engine)[:10]}" in report(contained)
    assert image_of(on_host / answers) == "none"
    assert "no container" in report(on_host)


def image_of(answers: Path) -> str:
    """The image in which a method's answers were written."""
    (session,) = read_provenance(answers)["sessions"]
    image: str = session["container"]
    return image


def report(folder: Path) -> str:
    return (folder / "results/report.html").read_text()


def test_the_hubs_token_is_in_no_file(contained: Path) -> None:
    files = [file for file in contained.rglob("*") if file.is_file()]
    assert len(files) > 100
    assert [file for file in files if TOKEN.encode() in file.read_bytes()] == []


def test_nothing_is_left_after_success(contained: Path, images: Images) -> None:
    assert left_behind(contained) == []
    assert mounted(images) == []


def test_the_engines_image_serves_a_stage(other: Path, images: Images) -> None:
    params = yaml.safe_load((other / "params.yaml").read_text())
    params["pairs"]["demo"]["calibration"]["chains_calibration"]["n_problems"] = 1
    write_params(other, params)
    succeed(other, *TRACES, **REAL)
    log = (other / "logs/demo/traces/engine-large.log").read_text()
    assert "Application startup complete" in log
    assert image_of(other / "results/demo/traces.parquet") == f"sha256:{sha256(images.engine)}"
    assert left_behind(other) == []


def test_nothing_is_left_after_failure(other: Path, images: Images) -> None:
    (other / "demo_pair/large/model.safetensors").write_bytes(b"")
    result = run(other, *TRACES)
    assert result.returncode != 0
    assert "engine 'large' died while starting" in result.stdout + result.stderr
    assert left_behind(other) == []
    assert mounted(images) == []


def test_nothing_is_left_after_ctrl_c(other: Path, images: Images) -> None:
    log = other / "logs/demo/traces/engine-large.log"
    with held(other, 0), started(other, *TRACES) as workflow:
        until(lambda: log.exists() and log.stat().st_size, "engine")
        assert list(concerned(other))
        os.killpg(workflow.pid, signal.SIGINT)
        assert workflow.wait(timeout=60) != 0
    assert left_behind(other) == []
    assert mounted(images) == []


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
    assert not (other / "results/demo").exists()


def test_the_engines_image_is_the_console_command(images: Images, other: Path) -> None:
    image = str(images.engine)
    said = succeed(other, "apptainer", "run", "--cleanenv", image, "serve", "--help")
    assert "Usage: relaygen serve" in said
