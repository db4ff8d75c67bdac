"""Record results with DVC that Snakemake made: those that are up to date, and no others."""

import subprocess
import sys
from collections.abc import Iterable

from stages.config.schema import Params
from stages.runtime.errors import UserError
from stages.tracking import status
from stages.tracking.status import Result
from stages.tracking.targets import Target

# Rules whose outputs belong to the stage of another rule in dvc.yaml.
MADE_WITH = {"tokenizer": "prepare", "merge": "infer"}


def stage_of(target: Target, params: Params) -> str:
    """Return the name of a target's stage in dvc.yaml."""
    stage = MADE_WITH.get(target.stage, target.stage)
    if stage == "infer":
        variant = "ablation_" if target.name in params.ablation.methods else ""
        return f"{variant}infer@{target.pair}-{target.name}"
    return f"{stage}@{target.pair}" if target.pair else stage


def shared(params: Params) -> dict[str, set[str]]:
    """Return {stage of dvc.yaml without results of its own: those whose answers it asks for}."""
    return {
        f"together@{pair}": {
            stage_of(Target("infer", pair, method), params) for method in params.all_methods
        }
        for pair in params.run
    }


def stages(found: Iterable[Result], params: Params) -> tuple[list[str], list[str]]:
    """Return the stages whose results are all up to date, and the others that have any."""
    results = [result for result in found if result.target]
    names = {result.path: stage_of(result.target, params) for result in results if result.target}
    stale = {names[result.path] for result in results if result.why}
    current = [name for name in dict.fromkeys(names.values()) if name not in stale]
    asked = [name for name, looking in shared(params).items() if looking <= set(current)]
    return [*current, *asked], sorted(stale)


def record(params: Params) -> list[str]:
    """Run `dvc commit` for what is up to date; return the stages that it left out.

    Raises UserError if DVC fails, as where a stage's results are not complete.
    """
    current, stale = stages(status.results(params), params)
    command = [sys.executable, "-m", "dvc", "commit", "--force", "--quiet", "recipes", *current]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        raise UserError(f"dvc commit: {' '.join((done.stderr or done.stdout).split())[-300:]}")
    return stale
