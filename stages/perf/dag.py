"""The DAG: time to find nothing to do, to plan, to import a stage, to start engines."""

import os
import re
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import yaml

from stages.config.params import load
from stages.engine import server
from stages.engine.spec import specs
from stages.perf.harness import Measurement, arguments, in_turns, machine, ratios, seconds, write
from stages.runtime import command_line
from stages.runtime.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 3
STARTS = 2  # half a minute each
PAPER = ["qwen3", "r1"]
ROLES = ("large", "small")
PLAN = ("snakemake", "--cores", "2", "--dry-run", "--quiet")


def run(folder: Path, *command: str) -> str:
    """Return what a command prints in `folder`; UserError if it fails."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "DVC_NO_ANALYTICS": "1",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users' Python keeps bytecode
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if result.returncode:
        raise UserError(f"{' '.join(command)}: {(result.stderr or result.stdout)[-300:].strip()}")
    return result.stdout + result.stderr


def checkout(folder: Path) -> Path:
    """Return a repository with the working tree's tracked files, without results."""
    for name in run(ROOT, "git", "ls-files", "-z").split("\0"):
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    run(folder, "git", "init", "--quiet")
    return folder


def change(folder: Path, **blocks: object) -> None:
    """Change top-level blocks of params.yaml."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(params | blocks, sort_keys=False), encoding="utf-8")


def pretend_finished(folder: Path) -> None:
    """Write every file that DVC's stages make, with meaningless content, and record them.

    Recipes are real: the stage that writes them always runs.
    """
    run(folder, "python", "-m", "stages.recipes")
    listing = "from dvc.repo import Repo; index = Repo().index; print(*index.outs, *index.deps)"
    for path in map(Path, run(folder, "python", "-c", listing).split()):
        file = folder / (path if path.suffix else path / "content.txt")
        if not (folder / path).exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{path}\n", encoding="utf-8")
    run(folder, "dvc", "commit", "--force")


def nothing_to_do(folder: Path) -> None:
    """Run `dvc repro` where all is up to date; UserError if it runs any stage but the recipes'."""
    started = re.findall(r"Running stage '([^']+)'", run(folder, "dvc", "repro"))
    if set(started) - {"recipes"}:
        raise UserError(f"dvc repro in {folder} runs {', '.join(started)}: it is to find nothing")


def stage_modules() -> list[str]:
    """Return the modules that rules run."""
    rules = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk")
    )
    return sorted(set(re.findall(r"python -m (stages\.\w+) ", rules)))


def imported(module: str) -> float:
    """Return the seconds to start Python and import a stage's module."""
    return seconds(lambda: run(ROOT, "python", "-c", f"import {module}"))


def started(log_dir: Path, *groups: tuple[str, ...]) -> float:
    """Return the seconds until the bundled pair's engines are ready, group after group."""
    params = load(ROOT / "params.yaml")
    took = 0.0
    for roles in groups:
        wanted = specs(params.pair("demo"), params.engines, roles, concurrency=1)
        begun = time.perf_counter()
        with server.running(wanted, params.engines, log_dir):
            took += time.perf_counter() - begun
    return took


def commands(folder: Path) -> list[Measurement]:
    """Measure DVC with nothing to do, and Snakemake's plans."""
    finished, demo, paper = (checkout(folder / name) for name in ("finished", "demo", "paper"))
    pretend_finished(finished)
    change(paper, run=PAPER)
    sides = {
        "repro": lambda: seconds(partial(nothing_to_do, finished)),
        "demo": lambda: seconds(lambda: run(demo, *PLAN)),
        "paper": lambda: seconds(lambda: run(paper, *PLAN)),
    }
    found = in_turns(sides, REPEATS)
    return [
        Measurement("dvc repro, nothing to do", "s", found["repro"]),
        Measurement("snakemake -n, demo", "s", found["demo"]),
        Measurement("snakemake -n, both pairs of the paper", "s", found["paper"]),
    ]


def imports() -> list[Measurement]:
    """Measure what every job takes before it begins: the median stage, and the slowest."""
    found = in_turns({name: partial(imported, name) for name in stage_modules()}, REPEATS)
    by_time = sorted(found, key=lambda name: median(found[name]))
    middle, slowest = by_time[len(by_time) // 2], by_time[-1]
    return [
        Measurement(
            f"import of a stage, the median of {len(found)} ({middle})", "s", found[middle]
        ),
        Measurement(f"import of the slowest stage ({slowest})", "s", found[slowest]),
    ]


def starts(folder: Path) -> list[Measurement]:
    """Measure engines started side by side against one after another."""
    sides = {
        "together": partial(started, folder, ROLES),
        "in turn": partial(started, folder, *((role,) for role in ROLES)),
    }
    found = in_turns(sides, STARTS)
    return [
        Measurement("two engines ready, started side by side", "s", found["together"]),
        Measurement(
            "one after the other against side by side",
            "×",  # noqa: RUF001
            ratios(found["in turn"], found["together"]),
        ),
    ]


def main() -> None:
    """Measure, and write the results."""
    args = arguments(__doc__)
    origin = machine()
    with TemporaryDirectory() as folder:
        path = Path(folder)
        write(args.out, "The DAG", [*commands(path), *imports(), *starts(path / "logs")], origin)


if __name__ == "__main__":
    command_line.run(main)
