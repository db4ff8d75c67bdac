"""Cue effects and the cues that are selected (paper section 3.2)."""

from pathlib import Path

from stages.analysis.cue_effects import check_selection, read_corpus
from stages.analysis.cue_sets import write_selected
from stages.analysis.openers import cue_table
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import MARGINS, scan_parquet, write_csv
from stages.tracking.notes import write_provenance


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
    table = cue_table(corpus, settings)
    check_selection(table, settings.cues)
    write_csv(args.out, table)
    words = table.filter("selected")["cue"].to_list()
    write_selected(args.selected, words, settings.cue_matching)
    for file in (args.out, args.selected):
        write_provenance(provenance.derived(job, [args.margins]), file)


if __name__ == "__main__":
    command_line.run(main)
