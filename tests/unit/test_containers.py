"""What a container sees of the host, and what is refused before any job."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from containers import build
from stages.config.params import load
from stages.config.schema import Params
from stages.methods import of_kind
from stages.runtime import containers
from stages.runtime.errors import UserError
from stages.tracking import host

pytestmark = pytest.mark.unit


def lock_hash(name: str) -> str:
    return hashlib.sha256(Path(f"containers/{name}.lock").read_bytes()).hexdigest()


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Two images outside the project, which are as they should be."""
    monkeypatch.setattr(containers, "which", lambda name: name)
    labels = {
        "pipeline.sif": {"lock": lock_hash("pipeline")},
        "engine.sif": {"lock": lock_hash("engine-cpu"), "variant": "cpu"},
        "cuda.sif": {"lock": lock_hash("engine-cuda"), "variant": "cuda"},
        "old.sif": {"lock": "0" * 64, "variant": "cpu"},
        "foreign.sif": {},
    }
    monkeypatch.setattr(containers, "labels", lambda image: labels[Path(image).name])
    for name in labels:
        (tmp_path / name).touch()
    return with_engine(
        load(Path("params.yaml")), tmp_path / "engine.sif", tmp_path / "pipeline.sif"
    )


def with_engine(params: Params, engine: Path, pipeline: Path | None = None) -> Params:
    images = {"engine": str(engine)} | ({"pipeline": str(pipeline)} if pipeline else {})
    return params.model_copy(update={"containers": params.containers.model_copy(update=images)})


def test_images_as_they_should_be_pass(params: Params) -> None:
    containers.check(params, {}, runs_here=True)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("missing.sif", r"containers.engine: .*missing.sif: no such image; `make containers`"),
        ("foreign.sif", r"foreign.sif is none of `make containers`: no label 'lock'"),
        ("old.sif", r"old.sif was built from another containers/engine-cpu.lock"),
        ("cuda.sif", r"cuda.sif is for GPUs, and nvidia-smi finds none here"),
    ],
)
def test_an_image_that_cannot_do_is_named(
    image: str, message: str, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "gpus", list)
    with pytest.raises(UserError, match=message):
        containers.check(with_engine(params, tmp_path / image), {}, runs_here=True)


def test_the_variant_has_to_be_that_of_the_pairs_wherever_they_run(
    params: Params, tmp_path: Path
) -> None:
    cuda = with_engine(params, tmp_path / "cuda.sif")
    with pytest.raises(UserError, match="pair 'demo' runs on a CPU: `make containers VARIANT=cpu`"):
        containers.check(cuda, {}, runs_here=False)
    containers.check(cuda.model_copy(update={"run": ["qwen3"]}), {}, runs_here=False)


def test_without_apptainer_it_says_so(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "which", lambda name: None)
    with pytest.raises(UserError, match="apptainer is not installed: install it, or run on this"):
        containers.check(params, {}, runs_here=True)


@pytest.mark.parametrize(("name", "sign"), [("a:b", ":"), ("a,b", ",")])
def test_a_path_that_apptainer_cannot_bind_is_refused(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sign: str
) -> None:
    (tmp_path / name).mkdir()
    message = rf"{name}: Apptainer cannot bind a path with {sign} in it: rename the folder, or run"
    with pytest.raises(UserError, match=message):
        containers.check(params, {"HF_HOME": str(tmp_path / name)}, runs_here=True)
    monkeypatch.chdir(tmp_path / name)
    with pytest.raises(UserError, match=message):
        containers.check(params, {}, runs_here=True)


def test_a_cache_that_cannot_be_written_to_is_named(params: Params, tmp_path: Path) -> None:
    missing = tmp_path / "cache"
    with pytest.raises(UserError, match=f"HF_HOME: {missing} cannot be written to"):
        containers.check(params, {"HF_HOME": str(missing)}, runs_here=True)


def test_the_hubs_cache_is_bound_if_it_is_set_and_the_token_never_in_the_arguments(
    params: Params,
) -> None:
    assert "--bind /cache:/cache" not in containers.arguments(params, {})
    told = {"HF_HOME": "/cache", "HF_TOKEN": "hf_secret", "OTHER": "x"}
    arguments = containers.arguments(params, told)
    assert arguments.startswith("--containall ")
    assert "--bind /cache:/cache" in arguments
    assert "hf_secret" not in arguments
    passed = containers.passed_on(told)
    assert passed["APPTAINERENV_HF_TOKEN"] == "hf_secret"
    assert "APPTAINERENV_OTHER" not in passed


def test_a_router_outside_the_project_is_bound_for_a_variant_of_the_ablation_too(
    params: Params, tmp_path: Path
) -> None:
    (router := tmp_path / "router.safetensors").touch()
    line = {"kind": "token_route", "large": "large", "small": "small", "cues": "none"}
    variants = {**params.ablation.methods, "routed": of_kind({**line, "router": str(router)})}
    ablation = params.ablation.model_copy(update={"methods": variants})
    changed = params.model_copy(update={"ablation": ablation})
    assert router not in containers.elsewhere(params)
    assert router in containers.elsewhere(changed)


def test_temporary_files_of_a_stage_are_in_a_folder_of_the_users_own_on_the_machine(
    params: Params, tmp_path: Path
) -> None:
    command = f"set -- {containers.arguments(params, {})}; echo $3"
    told = {"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]}
    shown = subprocess.run(
        ["bash", "-c", command], env=told, capture_output=True, text=True, check=True
    ).stdout.strip()
    folder, inside = shown.split(":")
    assert containers.passed_on({})["APPTAINERENV_TMPDIR"] == inside
    assert Path(folder) == tmp_path / f"relaygen-{os.getuid()}"
    assert Path(folder).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("pair", "told", "warned"),
    [("qwen3", {}, True), ("qwen3", {"HF_HOME": "CACHE"}, False), ("demo", {}, False)],
)
def test_models_that_would_land_in_the_project_are_warned_of(
    params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    pair: str, told: dict[str, str], warned: bool,
) -> None:  # fmt: skip
    image = tmp_path / ("cuda.sif" if pair == "qwen3" else "engine.sif")
    run = with_engine(params, image).model_copy(update={"run": [pair]})
    containers.check(run, {name: str(tmp_path) for name in told}, runs_here=False)
    assert ("warning: HF_HOME is not set: models are" in capsys.readouterr().err) == warned


@pytest.mark.parametrize(("image", "shown"), [("engine.sif", "--nv"), ("pipeline.sif", "")])
def test_gpus_are_shown_to_the_engines_image_alone(image: str, shown: str, params: Params) -> None:
    run = params.model_copy(update={"run": ["qwen3"]})
    seen = containers.arguments(run, {})
    nv = seen[seen.rindex("$(") :]
    folder = Path(params.containers.engine).parent
    command = ["bash", "-c", f"echo {nv} ; : {folder / image} bash -c 'a stage'"]
    assert (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{shown}\n"
    )
    assert "--nv" not in containers.arguments(params, {})


def test_a_commit_is_told_to_containers_which_have_no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(host.COMMIT, raising=False)
    assert containers.passed_on({})[f"APPTAINERENV_{host.COMMIT}"] == host.git_commit()
    monkeypatch.setenv(host.COMMIT, "abc")
    assert host.git_commit() == "abc"


def test_pips_settings_reach_a_build_with_the_files_they_name(tmp_path: Path) -> None:
    wheels, inside = tmp_path / "wheels", tmp_path / "inside"
    wheels.mkdir()
    inside.mkdir()
    settings = {"find-links": str(wheels), "index-url": "https://index.example/simple"}
    binds = build.staged(inside, settings)
    assert binds == ["--bind", f"{inside}:/mnt:ro", "--bind", f"{wheels}:/mnt{wheels}:ro"]
    assert (inside / "pip.conf").read_text().splitlines() == [
        "[global]",
        f"find-links = /mnt{wheels}",
        "index-url = https://index.example/simple",
    ]
    assert (inside / wheels.relative_to("/")).is_dir()


def test_pips_settings_are_those_of_the_environment_before_those_of_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_TIMEOUT", "77")
    assert build.pip_settings()["timeout"] == "77"


def test_a_build_is_labelled_with_the_commit() -> None:
    shown = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert build.git_commit().removesuffix("-dirty") == shown
