"""Methods of a pair that can share engines answer the benchmarks together, in turns.

Each set of engines is started once, for what is not up to date and lacks answers. These go into the
store, where `infer` finds them: without this stage it asks for the same, method by method.
"""

from argparse import Namespace
from pathlib import Path

from stages.config.params import load
from stages.config.sharing import sets_of_engines
from stages.generation import asking, benchmarks
from stages.generation.asking import Wanted
from stages.planning.due import due
from stages.runtime import command_line
from stages.tracking import recipes
from stages.tracking.record import stage_of
from stages.tracking.targets import Target


def wanted(args: Namespace, method: str) -> Wanted:
    """Return what a method is asked for."""
    target = Target("infer", args.pair, method)
    job = recipes.begin(
        "infer", Namespace(params=args.params, pair=args.pair, method=method, recipe=target.path)
    )
    files = benchmarks.files_of(job, args.problems)
    return benchmarks.wanted(job, files, args.cue_sets / f"{method}.yaml", args.part)


def main() -> None:
    """Have the answers of the methods that share some engines in the store."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--engines", required=True, help="their roles: large+small")
    parser.add_argument("--part", type=int, default=0, help="which of infer.shards, from 0")
    parser.add_argument("--problems", type=Path, required=True, help="folder of problem sets")
    parser.add_argument("--cue-sets", type=Path, required=True, help="folder METHOD.yaml")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    sharing, to_make = sets_of_engines(params, args.pair)[args.engines], due(params)
    ahead = [
        name for name in sharing if stage_of(Target("infer", args.pair, name), params) in to_make
    ]
    label = benchmarks.label(
        f"together ({args.pair}, {args.engines})", params.infer.shards, args.part
    )
    asking.ask([wanted(args, name) for name in ahead], command_line.engine_logs(args.log), label)


if __name__ == "__main__":
    command_line.run(main)
