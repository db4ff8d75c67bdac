"""How tables and figures call methods and benchmarks; own names are printed as they are."""

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
    """Return the name that is printed for a method or a benchmark."""
    return NAMES.get(name, name)
