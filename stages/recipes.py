"""Write the recipes of the run: what each of its results depends on. Checks params.yaml first."""

from stages.config.params import load
from stages.runtime import command_line
from stages.tracking import recipes


def main() -> None:
    """Write results/recipes; files whose content stays the same are not touched."""
    args = command_line.parser(__doc__, per_pair=False).parse_args()
    command_line.start_log(args.log)
    recipes.write_all(load(args.params))


if __name__ == "__main__":
    command_line.run(main)
