"""Cues from traces that are there already, and what a relay would do with them.

Traces are JSONL (what was written under `text`, what was asked under `problem` or `messages`), this
pipeline's Parquet, or outputs of lighteval, lm-evaluation-harness and NeMo-Skills. The small model
reads them; no large model is needed. Writes into a folder: traces.parquet, margins.parquet,
cues.csv, selected_cues.yaml, replay.json and the figure of cue effects.
"""

import json
from pathlib import Path

from stages.analysis import mining, probed
from stages.analysis.captions import rare
from stages.analysis.cue_sets import write_selected
from stages.analysis.listing import FIGURES
from stages.analysis.plots import cue_effects, save, set_style
from stages.analysis.replay import in_words, predicted_speedup
from stages.config.params import load
from stages.generation import imported
from stages.generation.reading import read_traces
from stages.problems.pair_new import reader_of
from stages.runtime import command_line
from stages.tracking import provenance
from stages.tracking.files import write_text
from stages.tracking.frames import write_csv, write_parquet
from stages.tracking.notes import write_provenance


def main() -> None:
    """Write cues and figure, and print the values."""
    parser = command_line.parser(__doc__, per_pair=False)
    parser.add_argument("--traces", type=Path, required=True, help="what a large model wrote")
    parser.add_argument("--small", required=True, help="the small model: a folder, or on the hub")
    parser.add_argument("--out", type=Path, default=Path("mined"), help="folder of the results")
    parser.add_argument("--family", help="a family of workflow/reference/families/")
    parser.add_argument("--candidates", choices=("published", "auto"), default="published")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of the small model; 0: the CPU")
    parser.add_argument("--min-segments", type=int, help="in place of cues.min_segments")
    parser.add_argument("--large-tps", type=float, help="tokens per second of the large model")
    parser.add_argument("--small-tps", type=float, help="tokens per second of the small model")
    parser.add_argument("--handoff-ms", type=float, help="what one hand-off costs")
    parser.add_argument("--speeds", type=Path, help="in place of these: results/PAIR/probe.json")
    args = parser.parse_args()
    command_line.start_log(args.log)
    speeds = probed.speeds_given(args.speeds, args.large_tps, args.small_tps, args.handoff_ms)
    params, out = load(args.params), args.out
    reader = reader_of(args.small, args.family, args.gpus, args.min_segments)
    if args.candidates == "auto":
        reader = mining.with_openers(reader)
    traces = imported.table(args.traces, reader.engines["small"], reader.family)
    kept, margins, cues = (out / name for name in ("traces.parquet", "margins.parquet", "cues.csv"))
    write_parquet(kept, traces, provenance.derived(None, [args.traces]))
    work = mining.Mining(params, mining.fitted(reader, traces))
    read_traces(work.job("margins"), kept, margins, command_line.engine_logs(args.log))
    table = work.effects(margins)
    write_csv(cues, table)
    words = table.filter("selected")["cue"].to_list()
    write_selected(out / "selected_cues.yaml", words, work.pair.cue_matching)
    values = work.replayed(kept, words)
    if speeds:
        values["predicted_speedup"] = predicted_speedup(values, speeds)
    write_text(out / "replay.json", json.dumps(values, indent=2) + "\n")
    read = [kept, margins, *filter(None, [args.speeds])]
    made = provenance.derived(work.job("cues"), read)
    write_provenance(made, cues, out / "selected_cues.yaml", out / "replay.json")
    set_style()
    caption = f"{FIGURES['cues']} {rare(table, work.cues.min_segments)}"
    save(cue_effects(table, work.cues.min_segments), made, out, "cues", caption)
    print(f"{len(words)} cues selected, of {len(table)} candidates: {', '.join(words)}")
    print(in_words(values))


if __name__ == "__main__":
    command_line.run(main)
