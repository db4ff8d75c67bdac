"""Cue effects and the cues that are selected (paper section 3.2)."""

from pathlib import Path

import polars as pl
import yaml

from stages.analysis.cue_effects import effects, read_corpus
from stages.config.schema import Cues
from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.tracking import provenance, recipes
from stages.tracking.files import write_text
from stages.tracking.frames import MARGINS, scan_parquet, write_csv
from stages.tracking.notes import write_provenance


def check_selection(table: pl.DataFrame, cues: Cues) -> None:
    """Raise UserError if no candidate was selected."""
    if not table["selected"].any():
        best = table.row(0, named=True)
        raise UserError(
            f"no cue is left after selection: the best, {best['cue']!r}, has delta "
            f"{best['delta']:.4f}; lower cues.min_delta ({cues.min_delta}) or "
            f"cues.min_segments ({cues.min_segments})"
        )


def main() -> None:
    """Write cues.csv of a pair, and the selected words alone."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--margins", type=Path, required=True, help="margins.parquet")
    parser.add_argument("--out", type=Path, required=True, help="cues.csv")
    parser.add_argument("--selected", type=Path, required=True, help="selected_cues.yaml")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("cues", args)
    settings = job.settings
    corpus = read_corpus(
        scan_parquet(args.margins, MARGINS), settings.include_prompt, settings.segment_ends
    )
    table = effects(
        corpus, settings.candidates, settings.cue_matching, settings.cues, settings.seed
    )
    check_selection(table, settings.cues)
    write_csv(args.out, table)
    words = table.filter("selected")["cue"].to_list()
    content = {"cues": words, "matching": settings.cue_matching}
    write_text(args.selected, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
    for file in (args.out, args.selected):
        write_provenance(provenance.derived(job, [args.margins]), file)


if __name__ == "__main__":
    command_line.run(main)
