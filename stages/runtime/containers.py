"""Apptainer: what a stage's container sees of the host, and checks before the first job."""

import hashlib
import json
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from shutil import which
from tempfile import TemporaryFile

from stages.config.schema import Model, Params
from stages.config.selection import methods_of, variants_of
from stages.methods.base import ENTROPY
from stages.runtime.command_line import warn
from stages.runtime.errors import UserError
from stages.tracking import host

RECIPES = Path("containers")
# The host's variables that stages in containers see, and no others. They are not passed on as
# arguments: all users could read the hub's token in the command line, and it would be logged.
PASSED_ON = (
    *("HF_TOKEN", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    host.COMMIT,
)
# Temporary files: a container's /tmp lies in memory and often holds no more than 64 MB. SCRATCH is
# shell code for a folder that only this user may enter, on the machine where the job runs.
TMPDIR = "/relaygen-tmp"
SCRATCH = '"$(f=${TMPDIR:-/tmp}/relaygen-$UID; mkdir -p -m 700 "$f" && [[ -O $f ]] && echo "$f")"'
NOT_BOUND = ":,"  # parts of a bind's own syntax
WITHOUT = "or run on this machine itself (containers.use: none, no --sdm apptainer)"


def arguments(params: Params, environ: Mapping[str, str]) -> str:
    """Return the arguments of `apptainer exec`, for a shell.

    Snakemake binds the project as the container's home. Added are the hub's cache if HF_HOME is
    set, and, read-only, images, models and routers outside the project.
    """
    binds = [f"{path}:{path}:ro" for path in elsewhere(params)]
    if cache := environ.get("HF_HOME"):
        binds.append(f"{cache}:{cache}")
    gpus = [on_gpus(params.containers.engine)] if any(n_gpus(params)) else []
    options = ["--containall", f"--bind {SCRATCH}:{TMPDIR}"]
    return " ".join([*options, *(f"--bind {shlex.quote(bind)}" for bind in binds), *gpus])


def on_gpus(image: str) -> str:
    """Return shell code that prints `--nv` for the jobs in `image` alone.

    Snakemake has the same arguments for all rules. So the job's shell searches its own command
    line, in which a blank follows the image's name, unlike in this code.
    """
    return f"$([[ $BASH_EXECUTION_STRING = *{shlex.quote(image)}\\ * ]] && echo --nv)"


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which Apptainer passes the host's variables on to stages."""
    known = {**environ, host.COMMIT: host.git_commit()}
    told = {name: known[name] for name in PASSED_ON if name in known} | {"TMPDIR": TMPDIR}
    return {f"APPTAINERENV_{name}": value for name, value in told.items()}


def check(params: Params, environ: Mapping[str, str], runs_here: bool) -> None:
    """Raise UserError for what would stop the jobs; `runs_here`: they run on this machine."""
    if not which("apptainer"):
        raise UserError(f"apptainer is not installed: install it, {WITHOUT}")
    cache = environ.get("HF_HOME")
    for path in (Path.cwd(), *elsewhere(params), *map(Path, filter(None, [cache]))):
        if found := set(str(path)) & set(NOT_BOUND):
            raise UserError(
                f"{path}: Apptainer cannot bind a path with {' '.join(sorted(found))} in it: "
                f"rename the folder, {WITHOUT}"
            )
    images = params.containers
    check_image("pipeline", images.pipeline, "pipeline")
    variant = labels(images.engine).get("variant") if Path(images.engine).exists() else None
    check_image("engine", images.engine, f"engine-{variant or 'cpu'}")
    check_variant(params, str(variant), runs_here)
    check_writable("the project's folder", Path.cwd())
    if cache:
        check_writable("HF_HOME", Path(cache))
    elif any(served.on_hub for served in engines(params)):
        warn(
            "HF_HOME is not set: models are downloaded into the project, .cache/huggingface "
            "(`relaygen plan` says how much). To keep them elsewhere, set it to a folder"
        )


def check_image(key: str, image: str, recipe: str) -> None:
    """Raise UserError unless the image is there and was built from today's lock file."""
    if not Path(image).exists():
        raise UserError(f"containers.{key}: {image}: no such image; `make containers`, {WITHOUT}")
    noted = labels(image).get("lock")
    if noted is None:
        raise UserError(f"containers.{key}: {image} is none of `make containers`: no label 'lock'")
    lock = RECIPES / f"{recipe}.lock"
    if noted != hashlib.sha256(lock.read_bytes()).hexdigest():
        raise UserError(
            f"containers.{key}: {image} was built from another {lock}; build it again: "
            "`make containers`"
        )


def check_variant(params: Params, variant: str, runs_here: bool) -> None:
    """Raise UserError unless the engine's image fits the pairs and the machine: GPUs or CPU."""
    engine = f"containers.engine: {params.containers.engine}"
    if variant == "cuda" and runs_here and not host.gpus():
        raise UserError(f"{engine} is for GPUs, and nvidia-smi finds none here; take engine-cpu")
    for pair, gpus in zip(params.run, n_gpus(params), strict=True):
        if bool(gpus) != (variant == "cuda"):
            runs, other = ("GPUs", "cuda") if gpus else ("a CPU", "cpu")
            raise UserError(
                f"{engine} is its {variant} variant, and pair '{pair}' runs on {runs}: "
                f"`make containers VARIANT={other}`, containers/engine-{other}.sif"
            )


def check_writable(what: str, folder: Path) -> None:
    """Raise UserError unless files can be written into the folder."""
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{what}: {folder} cannot be written to, as stages in containers must: {error.strerror}"
        ) from error


def labels(image: str) -> dict[str, str]:
    """Return an image's labels, which were set when it was built."""
    asked = ["apptainer", "inspect", "--json", image]
    result = subprocess.run(
        asked, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if result.returncode:
        line = " ".join(result.stderr.split())[-200:]
        raise UserError(f"{image}: Apptainer cannot read it: {line}")
    found: dict[str, str] = json.loads(result.stdout)["data"]["attributes"]["labels"]
    return found


def engines(params: Params) -> list[Model]:
    """Return what the engines of all pairs to run serve."""
    return [one for name in params.run for one in params.pair(name).engines.values()]


def n_gpus(params: Params) -> list[int]:
    """Return the GPUs of all engines together, of each pair to run."""
    return [sum(one.gpus for one in params.pair(name).engines.values()) for name in params.run]


def routers(params: Params) -> list[Path]:
    """Return the files of all routers that a run loads."""
    methods = [
        one
        for pair in params.run
        for had in (methods_of(params, pair), variants_of(params, pair))
        for one in had.values()
    ]
    return [Path(name) for one in methods for name in one.routers.values() if name != ENTROPY]


def elsewhere(params: Params) -> list[Path]:
    """Return images, model folders and routers outside the project.

    Stages read an image's digest, which is part of every result's provenance.
    """
    named = (params.containers.pipeline, params.containers.engine)
    images = [Path(name) for image in named for name in (image, f"{image}.sha256")]
    folders = [folder for one in engines(params) for folder in one.folders]
    paths = [*images, *folders, *routers(params)]
    here = Path.cwd()
    outside = [path.resolve() for path in paths if not path.resolve().is_relative_to(here)]
    return [path for path in dict.fromkeys(outside) if path.exists()]
