"""The words at which a method hands over: published, a file's, all candidates, or those mined."""

from pathlib import Path

import yaml

from stages.analysis.cue_sets import words_in
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.files import write_text
from stages.tracking.notes import write_provenance


def main() -> None:
    """Write one method's cue set; no words, for a method that hands nothing over."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--method", required=True, help="a method under `methods:`")
    parser.add_argument("--mined", type=Path, help="the selected cues, where the method takes them")
    parser.add_argument("--out", type=Path, required=True, help="METHOD.yaml")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("cue_set", args)
    words = job.settings.cue_words
    files = [args.mined] if words is None else []
    cues = words_in(args.mined) if words is None else words
    content = {"cues": cues, "matching": job.settings.matching}
    write_text(args.out, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
    write_provenance(provenance.derived(job, files), args.out)


if __name__ == "__main__":
    command_line.run(main)
