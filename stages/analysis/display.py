"""What tables and figures say alike: names of methods and benchmarks, and numbers of problems."""

import polars as pl

NAMES = {
    "small": "Small model",
    "large": "Large model",
    "eagle3": "Large + Eagle-3",
    "draft": "Large + small as draft",
    "ngram": "Large + n-grams",
    "relaygen": "RelayGen",
    "relaygen_eagle3": "RelayGen + Eagle-3",
    "spec_think": "Speculative Thinking",
    "r2r": "R2R",
    "r2r_entropy": "R2R by entropy",
    "aime24": "AIME 2024",
    "aime25": "AIME 2025",
    "aime26": "AIME 2026",
    "amc23": "AMC 2023",
    "hmmt_feb25": "HMMT Feb 2025",
    "hmmt_feb26": "HMMT Feb 2026",
    "math500": "MATH-500",
    "minerva_math": "Minerva Math",
    "gpqa_diamond": "GPQA Diamond",
    "mmlu_pro": "MMLU-Pro",
}
# Columns of tables, as the report heads them.
COLUMNS = {
    "pass_at_1": "Pass@1 (%)",
    "ci_low": "95 % from",
    "ci_high": "to",
    "sem": "standard error",
    "n_problems": "problems",
    "n_repeats": "answers each",
    "n_runs": "runs",
    "pass_at_k": "pass@k (%)",
    "majority_at_k": "majority@k (%)",
    "mean_tokens": "tokens",
    "large_utilization": "large model's tokens (%)",
    "large_utilization_sd": "their SD",
    "cut_percent": "cut off (%)",
    "no_answer_percent": "no answer (%)",
    "paper": "paper (%)",
    "speedup_sd": "SD",
    "tokens_per_s": "tokens/s",
    "acceptance_length": "acceptance length",
    "handoff_ms": "hand-off (ms)",
    "large_ms": "large (ms/token)",
    "small_ms": "small (ms/token)",
    "between_ms": "between (ms/token)",
    "bound_percent": "of bound (%)",
    "cached_percent": "cached (%)",
    "other_load": "other load (cores)",
    "paper_speedup": "paper: speedup",
    "paper_speedup_sd": "paper: SD",
    "paper_large_utilization": "paper: large model's tokens (%)",
    "paper_large_utilization_sd": "paper: their SD",
}


def shown(name: str) -> str:
    """Return the name that is printed for a method or a benchmark: its own if none is known."""
    return NAMES.get(name, name)


def sizes(accuracy: pl.DataFrame) -> str:
    """Return a sentence with the problems of each benchmark, and the answers to each.

    `accuracy`: rows of accuracy.csv; those that hold the paper's values alone have no numbers.
    """
    ours = accuracy.drop_nulls("n_problems").unique("benchmark", keep="first", maintain_order=True)
    parts = [
        f"{shown(name)} {n} and {k}"
        for name, n, k in ours.select("benchmark", "n_problems", "n_repeats").iter_rows()
    ]
    return f"Problems and answers to each: {'; '.join(parts)}."
