"""What policies would do on a pair's traces, for a grid of thresholds at once; no engine is needed.

Reads the traces of the large model and the small model's margins on them, both of the calibration
set. Writes the share of the large model's tokens, the hand-offs and a predicted speedup per policy
and threshold, and a figure. What the small model would write instead is not known.
"""

from pathlib import Path

from stages.analysis import trace_files
from stages.analysis.cue_sets import words_in
from stages.analysis.plots import policies_by_threshold, save, set_style
from stages.analysis.policy_grid import (
    NOT_KNOWN,
    in_words,
    lines_of,
    planned,
    speeds_in,
    table,
    walk_all,
    with_margins,
)
from stages.analysis.replay import read_tokenizer
from stages.analysis.tuning import at_content, candidates, thresholds
from stages.config.params import load
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import MARGINS, read_parquet, write_csv
from stages.tracking.notes import write_provenance
from stages.tracking.targets import Target

QUANTILES = tuple(n / 100 for n in (*range(1, 10), *range(10, 52, 2)))


def main() -> None:
    """Write the grid of a pair and its figure, and print the grid."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--policy", help="a line of tune.policies or methods; default: all of tune")
    parser.add_argument("--out", type=Path, help="folder; default: results/PAIR/replay")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params, folder = load(args.params), Path("results") / args.pair
    pair = params.pair(args.pair)
    lines = lines_of(params, args.policy)
    job = recipes.job_of(params, Target("replay", args.pair))
    files = [folder / name for name in ("traces.parquet", "margins.parquet")]
    cues, speed = (
        folder / "cue_sets/relaygen.yaml",
        Path("results/summaries") / args.pair / "speed.csv",
    )
    tokenizer = read_tokenizer(folder / "problems/tokenizer.json")
    margins = read_parquet(files[1], MARGINS)
    found = thresholds(at_content(margins, pair.family.content), QUANTILES)
    found = [one for one in found if one.value < 1]  # at 1 nearly all would be the large model's
    tried = candidates(params.tune.model_copy(update={"policies": lines}), found)

    words = tuple(words_in(cues))
    grid = [planned(one, params, args.pair, tokenizer, words) for one in tried]
    sums = walk_all(
        with_margins(trace_files.read(files[0], tokenizer), margins, files[1]), tokenizer, grid
    )
    result = table(grid, sums, speeds_in(speed))
    out = args.out or folder / "replay"
    write_csv(out / "policies.csv", result)
    read = [*files, cues, *([speed] if speed.is_file() else [])]
    origin = provenance.derived(job, read, settings={"policies": lines, "pair": args.pair})
    write_provenance(origin, out / "policies.csv")
    set_style()
    caption = f"What policies would do on the traces of the calibration set. {NOT_KNOWN}"
    save(policies_by_threshold(result), origin, out, "policies-by-threshold", caption)
    print(in_words(result))


if __name__ == "__main__":
    command_line.run(main)
