"""What the relay would do on traces that a large model wrote alone; no engine is needed.

Each trace is cut where the relay's own rules hand over; the answer stage is the small model's.
That gives the large model's utilization, hand-offs and segment lengths, and, from two speeds and
the cost of a hand-off, a predicted speedup: time of the large model alone / (time of both models
for their tokens + time of the hand-offs).
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

from stages.analysis import probed, trace_files
from stages.analysis.cue_sets import cue_set
from stages.analysis.replay import (
    count,
    in_words,
    predicted_speedup,
    read_tokenizer,
)
from stages.methods.base import Marks
from stages.methods.matching import CueMatching
from stages.methods.offline import setting
from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.tracking import provenance, recipes
from stages.tracking.files import write_text
from stages.tracking.notes import write_provenance


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--traces", type=Path, required=True, help="traces or answers (.parquet), texts (.jsonl)"
    )
    parser.add_argument(
        "--tokenizer", type=Path, required=True, help="a model's folder or its tokenizer.json"
    )
    parser.add_argument(
        "--cues",
        required=True,
        help="a published set (qwen3, r1), all candidates (all), a cues.csv, or a .yaml file: a "
        "method's cue set or a list of cues",
    )
    parser.add_argument(
        "--matching",
        choices=get_args(CueMatching),
        help="default: a cue set's own, substring for a published set, else boundary",
    )
    parser.add_argument(
        "--min-tokens", type=int, default=5, help="no cue in a segment's first ones"
    )
    parser.add_argument("--large-tps", type=float, help="tokens per second of the large model")
    parser.add_argument("--small-tps", type=float, help="tokens per second of the small model")
    parser.add_argument("--handoff-ms", type=float, help="what one hand-off costs")
    parser.add_argument("--speeds", type=Path, help="in place of these: results/PAIR/probe.json")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, help="write that object to this file instead")
    parser.add_argument("--log", type=Path, help="also log to this file")
    parser.add_argument("--pair", help="in the pipeline: the pair whose relay this is")
    parser.add_argument("--recipe", type=Path, help="the recipe that the run was planned with")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="params.yaml")
    return parser.parse_args()


def main() -> None:
    """Print the report."""
    args = arguments()
    command_line.start_log(args.log)
    given = probed.speeds_given(args.speeds, args.large_tps, args.small_tps, args.handoff_ms)
    if args.min_tokens < 0:
        raise UserError(f"--min-tokens: {args.min_tokens} is below 0")
    cues = cue_set(args.cues)
    if args.matching:
        cues = replace(cues, matching=args.matching)
    tokenizer = read_tokenizer(args.tokenizer)
    job = recipes.begin("replay", args) if args.pair else None
    min_tokens = job.settings.min_tokens if job else args.min_tokens
    marks = job.settings.marks if job else Marks()
    rules = setting(tokenizer, cues, min_tokens, marks)
    values = count(trace_files.read(args.traces, tokenizer), tokenizer, rules).values()
    if given:
        values["predicted_speedup"] = predicted_speedup(values, given)
    if args.out:
        write_text(args.out, json.dumps(values, indent=2) + "\n")
        settings = {"cues": cues.cues, "matching": cues.matching, "min_tokens": min_tokens}
        read = (args.traces, args.tokenizer, Path(args.cues), args.speeds)
        files = [path for path in read if path and path.is_file()]
        write_provenance(provenance.derived(job, files, settings=settings), args.out)
    else:
        print(json.dumps(values) if args.json else in_words(values))


if __name__ == "__main__":
    command_line.run(main)
