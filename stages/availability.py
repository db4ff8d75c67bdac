"""The benchmarks that a pair goes without, and why: those that this account may not read."""

from pathlib import Path

from stages.problems import availability
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.notes import write_provenance


def main() -> None:
    """Write unavailable.yaml of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--out", type=Path, required=True, help="unavailable.yaml")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("availability", args)
    names = job.settings.problem_sets
    availability.note(args.out.parent, availability.reasons(args.problems, names))
    files = [args.problems / f"{name}.parquet" for name in names]
    write_provenance(provenance.derived(job, files), args.out)


if __name__ == "__main__":
    command_line.run(main)
