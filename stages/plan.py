"""What a run would do and take, before anything is started: a line per pair, method and benchmark.

Reads params.yaml, the assumptions of workflow/reference/plan.yaml, and what results/ and store/
hold already. Engines that cannot fit are refused, one line each. `--commands` prints the engines'
command lines instead.
"""

import sys
from itertools import chain

from stages.config.params import load
from stages.planning import assumptions
from stages.planning.done import RESULTS
from stages.planning.due import due
from stages.planning.fit import misfits
from stages.planning.jobs import commands
from stages.planning.measured import measured
from stages.planning.overview import as_json, text
from stages.planning.pair import REFERENCE, planned_pair
from stages.runtime import command_line


def main() -> None:
    """Print the plan; exit code 1 and the reasons if engines cannot fit."""
    parser = command_line.parser(__doc__, per_pair=False)
    parser.add_argument("--pair", help="a pair under `pairs:`; default: all pairs of `run:`")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--commands", action="store_true", help="the engines' command lines")
    what.add_argument("--json", action="store_true", help="for programs")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    known = assumptions.load(REFERENCE / "plan.yaml")
    names = [args.pair] if args.pair else params.run
    now_due = due(params.model_copy(update={"run": names}))
    pairs = [
        planned_pair(params, name, known, now_due, measured(RESULTS, params, name))
        for name in names
    ]
    if refused := list(chain.from_iterable(map(misfits, pairs))):
        print("\n".join(f"error: {line}" for line in refused), file=sys.stderr)
        sys.exit(1)
    if args.commands:
        print("\n".join(chain.from_iterable(map(commands, pairs))))
    else:
        print(as_json(pairs) if args.json else text(pairs))


if __name__ == "__main__":
    command_line.run(main)
