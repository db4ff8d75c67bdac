"""What each entrance finds out of date in a checkout, asked many times without starting anew.

Every question is answered in a process of its own, forked from one that has imported DVC,
Snakemake and other libraries, and nothing of the project: what counts is the checkout's code as it
is when asked.
"""

import contextlib
import io
import multiprocessing
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

STAND_INS = Path(__file__).parents[1] / "scripted/stand_ins"
LIBRARIES = [
    *("dvc.cli", "dvc.cachemgr", "dvc.lock", "dvc.repo", "dvc.repo.index", "dvc.repo.metrics"),
    *("dvc.scm", "dvc.stage", "dvc_render.vega_templates", "ruamel.yaml", "scmrepo.git"),
    *("snakemake.cli", "snakemake.report.html_reporter", "snakemake.workflow", "docutils.core"),
    *("docutils.parsers.rst.states", "requests", "smart_open", "yte"),
    *("aiohttp", "httpx", "numpy", "polars", "prometheus_client", "psutil", "pyarrow.parquet"),
    *("pydantic", "tokenizers", "tqdm", "typer", "uvloop", "yaml", "matplotlib.pyplot", "seaborn"),
    *("math_verify", "jinja2", "huggingface_hub"),
]
COMMAND = re.compile(r"python -m stages\.(\w+)(?: --pair \w+)?(?: --(?:method|set) (\w+))?")

forked = multiprocessing.get_context("forkserver")
forked.set_forkserver_preload(LIBRARIES)


def dvc_status(folder: Path) -> set[str]:
    """The stages of dvc.yaml whose dependencies have changed, as it names them."""
    found: set[str] = ask(status_of_dvc, folder)
    return found


def to_make(folder: Path) -> tuple[set[str], set[str]]:
    """The jobs of `relaygen status`, and those that Snakemake would do: `stage` or `stage name`."""
    found: tuple[set[str], set[str]] = ask(status_and_jobs, folder)
    return found


def imported(folder: Path, module: str) -> set[str]:
    """The project's modules that importing one of them imports."""
    found: set[str] = ask(partial(modules_of, module), folder)
    return found


def ask(question: Callable[[], Any], folder: Path) -> Any:
    """The answer to a question in a checkout; RuntimeError with what was printed if it fails."""
    ours, theirs = forked.Pipe()
    process = forked.Process(target=answer, args=(question, folder, theirs))
    process.start()
    theirs.close()
    found = ours.recv()
    process.join()
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


def answer(question: Callable[[], Any], folder: Path, to: Connection) -> None:
    """In the forked process: send the answer, or what was printed."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = False  # the project's modules are imported once for each question
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            to.send(question())
    except BaseException as error:
        to.send(f"{error!r}\n{printed.getvalue()[-3000:]}")


def planned(folder: Path) -> set[str]:
    """The stages of dvc.yaml that `relaygen plan` takes for due."""
    found: set[str] = ask(due_stages, folder)
    return found


def due_stages() -> set[str]:
    """Ask the plan."""
    from stages.config.params import load
    from stages.planning.due import due

    return set(due(load(Path("params.yaml"))))


def status_of_dvc() -> set[str]:
    """Write the recipes as the first stage does, and ask DVC."""
    from dvc.repo import Repo

    from stages import recipes

    sys.argv = ["recipes"]
    recipes.main()
    return set(Repo().status()) - {"recipes"}


def status_and_jobs() -> tuple[set[str], set[str]]:
    """Ask `relaygen status` for what is out of date, and Snakemake for what it would do."""
    from stages.config.params import load
    from stages.tracking.status import reasons, stale

    lines = reasons(stale(load(Path("params.yaml"))))
    named = [re.sub(r" \((?:demo)?(?:, )?(\w*)\)$", r" \1", line).strip() for line in lines]
    return set(named), jobs()


def jobs() -> set[str]:
    """What Snakemake would do, by the commands that it would run."""
    from snakemake.cli import main  # type: ignore[import-untyped]

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main(["--dry-run", "--printshellcmds", "--cores", "2"])
        except SystemExit as end:
            if end.code:
                raise RuntimeError(printed.getvalue()[-3000:]) from end
    return {" ".join(filter(None, found)) for found in COMMAND.findall(printed.getvalue())}


def modules_of(module: str) -> set[str]:
    """Import a module, with as little as will do for the server's own libraries."""
    sys.path.insert(0, str(STAND_INS))
    __import__(module)
    return {name for name in sys.modules if name.split(".")[0] in ("stages", "demo_pair")}
