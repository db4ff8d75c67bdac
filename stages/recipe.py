"""All that one method's answers depend on, besides the problems: its line, models, cues and code.

A file of its own per method: a method is run again when its recipe says something else, and only
then, whatever was added beside it in params.yaml or in stages/methods.
"""

from pathlib import Path
from typing import Any

import polars as pl
import yaml

from stages.analysis import cue_sets
from stages.config.params import load
from stages.config.schema import Handoff, Pair
from stages.engine import models
from stages.methods.base import Method
from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.tracking.files import digest_files, write_text

METHODS = Path(__file__).parent / "methods"
# Of a pair: what shapes other things than a method's answers, or stands in the recipe by itself.
NOT_OF_ANSWERS = {
    "engines", "cues", "published", "calibration", "benchmarks", "speed_benchmark",
    "ablation_benchmark", "as_released",
}  # fmt: skip


def choose(which: str, pair: Pair, effects: Path) -> list[str]:
    """The cues of the set `which`; `effects` is cues.csv, read for what is chosen from it."""
    if which == "none":
        return []
    if which == "mined":
        return cue_sets.mined(effects)
    if which == "all":
        return pl.read_csv(effects)["cue"].to_list()
    return list(cue_sets.cue_set(str(pair.published) if which == "published" else which).cues)


def recipe(pair: Pair, method: Method, cues: list[str], handoff: Handoff) -> dict[str, Any]:
    """The file's content."""
    modules = [METHODS / f"{name}.py" for name in ("base", "matching", method.kind)]
    return {
        "method": method.model_dump(),
        "cues": cues,
        "handoff": handoff,
        "pair": pair.model_dump(exclude=NOT_OF_ANSWERS),
        "engines": {
            role: {**served.model_dump(), "identity": models.identity(served)}
            for role, served in pair.engines.items()
            if role in method.roles
        },
        "code": digest_files(*modules),
    }


def read(path: Path) -> dict[str, Any]:
    """A recipe as this stage wrote it."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; the recipe stage makes it")
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def main() -> None:
    """Write one method's recipe."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--method", required=True, help="a method under `methods:`")
    parser.add_argument("--effects", type=Path, required=True, help="cues.csv")
    parser.add_argument("--out", type=Path, required=True, help="METHOD.yaml")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    method = params.method(args.method)
    pair = params.pair(args.pair)
    if why := params.why_not(args.pair, args.method):
        content: dict[str, Any] = {"left_out": why}
    else:
        cues = choose(params.cues_of(args.pair, args.method), pair, args.effects)
        content = recipe(pair, method, cues, params.handoff(pair, method))
    write_text(args.out, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


if __name__ == "__main__":
    command_line.run(main)
