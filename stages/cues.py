"""Cue effects and the cues that are selected (paper section 3.2).

A cue's segment is what follows it up to the end of the sentence. Its effect `delta` is the mean
margin of the tokens in its segments minus the mean of all other tokens: positive where the small
model is surer than elsewhere. Every candidate keeps its row, selected or not.
"""

from pathlib import Path

from stages.analysis.cue_effects import candidates, effects, read_corpus
from stages.config.params import load
from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.tracking import provenance
from stages.tracking.frames import scan_parquet, write_csv
from stages.tracking.notes import write_provenance


def main() -> None:
    """Write cues.csv of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--margins", type=Path, required=True, help="margins.parquet")
    parser.add_argument("--out", type=Path, required=True, help="cues.csv")
    args = parser.parse_args()
    command_line.start_log(args.log)
    params = load(args.params)
    pair = params.pair(args.pair)
    corpus = read_corpus(scan_parquet(args.margins), pair.as_released.margins)
    table = effects(corpus, candidates(), pair.cue_matching, params.cues, params.seed)
    if not table["selected"].any():
        best = table.row(0, named=True)
        raise UserError(
            f"no cue is left after selection: the best, {best['cue']!r}, has delta "
            f"{best['delta']:.4f}; lower cues.min_delta ({params.cues.min_delta}) or "
            f"cues.min_segments ({params.cues.min_segments})"
        )
    write_csv(args.out, table)
    origin = provenance.derived(
        [args.margins], seed=params.seed, cues=params.cues.model_dump(),
        cue_matching=pair.cue_matching, include_prompt=pair.as_released.margins,
    )  # fmt: skip
    write_provenance(origin, args.out)


if __name__ == "__main__":
    command_line.run(main)
