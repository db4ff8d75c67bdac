"""The tables and figures of a run, by name: listed here and nowhere else.

Rules, entries, the report and the tests take the names from here. A table is printed by the grid of
its name in `paper_tables.GRIDS`, a figure is drawn by the stage `figures`. Only text, no imports:
every start of the workflow reads this module.
"""

# {name: what the report says above the table}
TABLES = {
    "policies": "Utilization: the large model's share of all tokens.",
    "accuracy": "Below each value its 95 % interval. Cut off: answers that the budget ended; they "
    "count among those without a final answer, too.",
    "differences": "Better or worse: the 95 % interval does not hold 0.",
    "speed": "Below each speedup its 95 % interval, over runs. Utilization: the large model's "
    "share of all tokens. Bound: the speedup if hand-offs took no time.",
    "throughput": "Answers under load. Against large: the answers a minute divided by those of the "
    "large model on as much hardware, in several engines if that is faster.",
    "cue_ablation": "Other cue sets, other matching, the answer stage by the large model.",
    "answer_stage": "Final answers that stay the same when the small model writes the answer stage "
    "after the large model's reasoning.",
    "left_out": "Methods and benchmarks that this run went without.",
}
# {name: (the module that makes it, what it is made from)}, PAIR for the pair's name
TABLES_FROM = {
    "policies": ("stages/analysis/front.py", "PAIR/scores.parquet"),
    "accuracy": ("stages/analysis/accuracy.py", "PAIR/scores.parquet"),
    "differences": ("stages/analysis/differences.py", "PAIR/scores.parquet"),
    "speed": ("stages/analysis/speedup.py", "PAIR/latency.parquet"),
    "throughput": ("stages/analysis/load.py", "PAIR/throughput.parquet"),
    "cue_ablation": ("stages/ablation.py", "summaries/PAIR/cue_ablation.csv"),
    "answer_stage": ("stages/analysis/answer_stage.py", "summaries/PAIR/answer_stage.csv"),
    "left_out": ("stages/analysis/accuracy.py", "summaries/PAIR/left_out.csv"),
}
FIGURES_FROM = {
    "margins": "PAIR/margins.parquet",
    "cues": "PAIR/cues.csv",
    "accuracy": "tables/accuracy.csv",
    "tokens": "tables/accuracy.csv",
    "speed": "tables/speed.csv",
    "pareto": "tables/speed.csv",
    "acceptance": "PAIR/latency.parquet",
    "timeline": "PAIR/latency.parquet",
    "throughput": "tables/throughput.csv",
}
# The table, and the figure beside FIGURES, of pairs that are measured under load.
OF_LOAD = "throughput"
LOAD_CAPTION = (
    "Answers a minute against the median time of an answer; the numbers at the points: answers in "
    "flight. Dashed: the large model in several engines."
)
# {name: the figure's caption in the report}
FIGURES = {
    "margins": "The small model's margin, its probability of the likeliest token minus that of the "
    "second, along one calibration trace. Grey: segments of selected cues.",
    "cues": "Effect of each candidate with enough segments: mean margin in its segments minus that "
    "of all other tokens, with 95 % intervals over traces.",
    "accuracy": "Pass@1 per method and benchmark, with 95 % intervals.",
    "tokens": "Share of the tokens that each model writes.",
    "speed": "Speedup of each method, with 95 % bootstrap intervals over runs. Diamond: the bound.",
    "pareto": "Speedup against Pass@1 on the same benchmark, with 95 % intervals; hollow: another "
    "method is as fast and as accurate, and better in one of both.",
    "acceptance": "Tokens per step of the large model, its own and the drafted ones that it "
    "accepts, along the answer; with 95 % intervals over drafts. Not of relays: the engine counts "
    "no request that ends at a stop string.",
    "timeline": "One relayed answer of median duration: which model wrote when; above, the cues.",
}
