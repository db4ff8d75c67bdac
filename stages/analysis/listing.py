"""The tables and figures of a run, by name: listed here and nowhere else.

Rules, entries, the report and the tests take the names from here. A table is printed by the grid of
its name in `paper_tables.GRIDS`, a figure is drawn by the stage `figures`. Only text, no imports:
every start of the workflow reads this module.
"""

# {name: what the report says above the table}
TABLES = {
    "policies": "Accuracy against the large model's share of the tokens, in percent, and speedup; "
    "intervals of 95 % over problems. dominated_by: methods that are shown to be better in one of "
    "accuracy and share and not shown to be worse in the other (paired bootstrap over problems).",
    "accuracy": "Accuracy in percent. large_utilization: the large model's share of all tokens. "
    "Intervals of 95 %. cut_percent: answers that the budget cut off; no_answer_percent: "
    "answers without a final answer, these included.",
    "differences": "Pass@1 minus that of the large model, in percentage points. Intervals of 95 %: "
    "a paired bootstrap over problems, not adjusted for the number of comparisons.",
    "speed": "Speed relative to the large model alone; SD over problems, intervals over runs. "
    "bound: the speedup if hand-offs took no time. other_load: CPU cores that other processes used "
    "meanwhile.",
    "cue_ablation": "Ablation: other cue sets, other matching, the answer stage by the large "
    "model.",
    "answer_stage": "Final answers that stay the same, in percent, when the small model writes the "
    "answer stage after the large model's reasoning.",
    "left_out": "Methods and benchmarks that this run left out, and why.",
}
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
    "timeline": "One relayed answer of median duration: which model wrote when; above, the cues.",
}
