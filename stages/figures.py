"""The figures, as PDF and PNG: readable in print and without telling colours apart."""

from pathlib import Path

import polars as pl

from stages.analysis.acceptance import along, bin_width
from stages.analysis.captions import captions
from stages.analysis.plots import (
    acceptance_along_answer,
    accuracy,
    cue_effects,
    margins_along_trace,
    save,
    set_style,
    speed_against_accuracy,
    speed_bars,
    timeline,
    token_share,
)
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.frames import (
    ACCURACY,
    CUES,
    LATENCIES,
    MARGINS,
    SPEEDS,
    read_csv,
    read_parquet,
)


def main() -> None:
    """Draw every figure of a pair."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="accuracy.csv")
    parser.add_argument("--cues", type=Path, required=True, help="cues.csv")
    parser.add_argument("--margins", type=Path, required=True, help="margins.parquet")
    parser.add_argument("--speed", type=Path, required=True, help="speed.csv")
    parser.add_argument("--latency", type=Path, required=True, help="latency.parquet")
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("figures", args)
    settings = job.settings
    set_style()
    cues = read_csv(args.cues, CUES)
    selected = cues.filter("selected")["cue"].to_list()
    # Without the rows that hold the paper's values alone.
    table = read_csv(args.table, ACCURACY).filter(pl.col("pass_at_1").is_not_null(), pair=args.pair)
    speed = read_csv(args.speed, SPEEDS).filter(pl.col("speedup").is_not_null(), pair=args.pair)
    margins = read_parquet(args.margins, MARGINS)
    latency = read_parquet(args.latency, LATENCIES)
    acceptance = along(latency, bin_width(settings.budget))
    texts = captions(
        table, speed, cues, margins, latency, settings.min_segments, settings.speed_benchmark,
        acceptance,
    )  # fmt: skip
    for name, (figure, made_from) in {
        "margins": (
            margins_along_trace(margins, selected, settings.cue_matching, settings.segment_ends),
            [args.margins, args.cues],
        ),
        "cues": (cue_effects(cues, settings.min_segments), [args.cues]),
        "accuracy": (accuracy(table), [args.table]),
        "tokens": (token_share(table), [args.table]),
        "speed": (speed_bars(speed), [args.speed]),
        "pareto": (
            speed_against_accuracy(speed, table.filter(benchmark=settings.speed_benchmark)),
            [args.speed, args.table],
        ),
        "acceptance": (acceptance_along_answer(acceptance), [args.latency]),
        "timeline": (timeline(latency), [args.latency]),
    }.items():
        origin = provenance.derived(job, made_from)
        save(figure, origin, args.out, f"{args.pair}-{name}", texts[name])


if __name__ == "__main__":
    command_line.run(main)
