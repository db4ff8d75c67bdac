"""The parts of a method's answers in one file per benchmark: every problem and repeat, once."""

from pathlib import Path

import polars as pl

from stages import recipe
from stages.config.params import load
from stages.problems.availability import available
from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.tracking import provenance
from stages.tracking.files import write_text
from stages.tracking.frames import read_parquet, write_parquet
from stages.tracking.notes import read_provenance


def check_complete(frame: pl.DataFrame, problems: pl.DataFrame, repeats: int, path: Path) -> None:
    """Every problem x repeat is there exactly once."""
    wanted = len(problems) * repeats
    have = frame.select("problem_id", "repeat").n_unique()
    if have != wanted or len(frame) != wanted:
        raise UserError(
            f"{path}: {len(frame)} answers ({have} different) for {wanted} problems x repeats; "
            "run the infer stage again"
        )


def main() -> None:
    """Write METHOD/BENCHMARK.parquet, or why the pair goes without the method."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--method", required=True, help="a method under `methods:`")
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--recipe", type=Path, required=True, help="what the method depends on")
    parser.add_argument("--parts", type=Path, nargs="*", default=[], help="folders of answers")
    parser.add_argument("--out", type=Path, required=True, help="folder for the answers")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    if why := recipe.read(args.recipe).get("left_out"):
        write_text(args.out / "left_out.txt", f"{why}\n")
        return
    for name in available(params.benchmarks_of(args.pair, args.method), args.problems):
        files = [part / f"{name}.parquet" for part in args.parts]
        answers = pl.concat([read_parquet(file) for file in files]).sort("problem_id", "repeat")
        problems = read_parquet(args.problems / f"{name}.parquet")
        out = args.out / f"{name}.parquet"
        check_complete(answers, problems, params.pair(args.pair).repeats, out)
        write_parquet(out, answers, provenance.of_parts(map(read_provenance, files)))


if __name__ == "__main__":
    command_line.run(main)
