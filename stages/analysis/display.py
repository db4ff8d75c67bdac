"""What tables and figures say alike: names of methods and benchmarks, and numbers of problems."""

import polars as pl

NAMES = {
    "small": "Small model",
    "large": "Large model",
    "eagle3": "Large + Eagle-3",
    "relaygen": "RelayGen",
    "relaygen_eagle3": "RelayGen + Eagle-3",
    "spec_think": "Speculative Thinking",
    "r2r": "R2R",
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
