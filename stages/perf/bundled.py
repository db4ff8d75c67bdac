"""The bundled pair, on which performance is measured: its problems, with prompts."""

import polars as pl

from stages.config.schema import Params
from stages.problems.prompts import problem_set
from stages.tracking.resolving import settings_of
from stages.tracking.targets import Target

PAIR = "demo"


def problems(params: Params, name: str, n: int | None = None, pair: str = PAIR) -> pl.DataFrame:
    """Return a problem set of a pair; `n`: how many problems, None: as in params.yaml."""
    settings = settings_of(params, Target("prepare", pair, name))
    if n is not None:
        source = settings.problem_set.model_copy(update={"n_problems": n})
        settings = settings.model_copy(update={"problem_set": source})
    return problem_set(name, settings)[0]
