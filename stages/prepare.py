"""The problem sets of a pair: one schema, prompts rendered to token ids.

Writes one Parquet file per problem set (problem_id, prompt, gold, prompt_ids, and steps_prompt_ids,
the wording that asks for steps). Without --set all of them, with the pair's tokenizer.
"""

from argparse import Namespace
from pathlib import Path

from stages.config.params import load
from stages.config.schema import Pair
from stages.engine import models
from stages.engine.hub import UnavailableError
from stages.problems import availability
from stages.problems.fit import check_models
from stages.problems.prompts import SCHEMA, problem_set
from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.tracking import recipes
from stages.tracking.files import write_text
from stages.tracking.frames import write_parquet


def write(name: str, args: Namespace) -> None:
    """Write one problem set; without rows, and with the reason, where it cannot be read."""
    job = recipes.begin("prepare", Namespace(**vars(args) | {"set": name}))
    out = args.out / f"{name}.parquet"
    try:
        frame, origin = problem_set(name, job.settings)
    except UnavailableError as error:
        reason = left_out(name, load(args.params).pair(args.pair), error)
        frame, origin = SCHEMA.to_frame(), {availability.LEFT_OUT: reason}
    write_parquet(out, frame, {**origin, "recipe": job.record})


def left_out(name: str, pair: Pair, error: UnavailableError) -> str:
    """Return why a benchmark is left out, and say so; UserError if the run needs it.

    What it is needed for shapes no problem set: that is not in the recipe.
    """
    needed = {one: f"the pair's {key}" for key, one in pair.single_benchmarks.items()}
    needed[pair.calibration_set] = "the calibration set"
    if name in needed:
        raise UserError(f"{name} is {needed[name]}, and {error}") from error
    command_line.warn(f"{name} is left out: {error}; then prepare it again (docs/benchmarks.md)")
    return str(error)


def main() -> None:
    """Write one problem set of a pair, or all."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--set", help="the problem set to write; default: all, and the tokenizer")
    parser.add_argument("--out", type=Path, required=True, help="folder for the Parquet files")
    args = parser.parse_args()
    command_line.start_log(args.log)
    if args.set:
        write(args.set, args)
        return
    pair = load(args.params).pair(args.pair)
    check_models(pair.engines, args.pair)
    for name in pair.problem_sets:
        write(name, args)
    write_text(
        args.out / "tokenizer.json", models.tokenizer(pair.engines["large"]).to_str(pretty=True)
    )


if __name__ == "__main__":
    command_line.run(main)
