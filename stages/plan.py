"""What a run would do and take, before anything is started: a line per pair, method and benchmark.

Reads params.yaml, the assumptions of workflow/reference/plan.yaml, and what lies in results/ and
shards/ already. Engines that cannot fit are refused, one line each. `--commands` prints the
engines' command lines instead.
"""

import sys
from itertools import chain

from stages.config.params import load
from stages.planning import estimates
from stages.planning.overview import REFERENCE, as_json, planned, text
from stages.runtime import command_line


def main() -> None:
    """Print the plan; exit code 1 and the reasons if engines cannot fit."""
    parser = command_line.parser(__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--commands", action="store_true", help="the engines' command lines")
    what.add_argument("--json", action="store_true", help="for programs")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    known = estimates.load(REFERENCE / "plan.yaml")
    plans = [planned(params, name, known) for name in ([args.pair] if args.pair else params.run)]
    if refused := [line for plan in plans for line in plan.misfits()]:
        print("\n".join(f"error: {line}" for line in refused), file=sys.stderr)
        sys.exit(1)
    if args.commands:
        print("\n".join(chain.from_iterable(plan.commands() for plan in plans)))
    else:
        print(as_json(plans) if args.json else text(plans))


if __name__ == "__main__":
    command_line.run(main)
