"""Grade final answers against gold: math by math-verify, multiple choice by letter.

A missing final answer is wrong, and so is one that the budget cut off. A missing row of answers is
an error, not a wrong answer.
"""

import re

import polars as pl
from math_verify import LatexExtractionConfig, parse, verify

from stages.config.schema import Scoring

SCHEMA = pl.Schema(
    {
        "method": pl.String,
        "benchmark": pl.String,
        "problem_id": pl.Int64,
        "repeat": pl.Int64,
        "predicted": pl.String,
        "gold": pl.String,
        "correct": pl.Boolean,
    }
)
TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\{([^{}]*)\}")
PERCENT = re.compile(r"\s*\\?%$")


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last complete \boxed{...} in `text`; None without one."""
    start = text.rfind(r"\boxed{")
    while start >= 0:
        depth = 0
        for i in range(start + len(r"\boxed"), len(text)):
            depth += {"{": 1, "}": -1}.get(text[i], 0)
            if depth == 0:
                return text[start + len(r"\boxed{") : i].strip()
        start = text.rfind(r"\boxed{", 0, start)
    return None


def is_correct(predicted: str | None, gold: str, scoring: Scoring) -> bool:
    """Return whether a final answer is the gold one; None is not."""
    if predicted is None:
        return False
    if scoring == "choice":
        return choice_letter(predicted) == gold
    wanted, given = tidy(gold), tidy(predicted)
    if words(wanted) == words(given):
        return True
    return any(same_value(*pair) for pair in percent_readings(wanted, given))


def same_value(gold: str, predicted: str) -> bool:
    """Return whether math-verify finds two answers equal; "x > 2" and "(2, \\infty)" are."""
    latex = [LatexExtractionConfig()]
    wanted, given = (parse(f"\\boxed{{{text}}}", latex) for text in (gold, predicted))
    return bool(verify(wanted, given, allow_set_relation_comp=True))


def tidy(answer: str) -> str:
    r"""Return `answer` in a form that math-verify can read.

    No full stop at its end, no thin spaces between thousands (10\,000), degree signs in LaTeX.
    """
    answer = answer.strip().removesuffix(".")
    answer = re.sub(r"°|\\degree(?![a-z])", r"^\\circ", answer)
    return re.sub(r"(?<=\d)\\[,;: ](?=\d{3}(?!\d))", "", answer)


def percent_readings(*answers: str) -> list[list[str]]:
    """Return the possible meanings of percent signs: 10 % is 10 if asked in percent, or 0.1."""
    bare = [PERCENT.sub("", answer) for answer in answers]
    hundredths = [
        f"\\frac{{{number}}}{{100}}" if number != answer else answer
        for number, answer in zip(bare, answers, strict=True)
    ]
    return [bare] if bare == hundredths else [bare, hundredths]


def words(answer: str) -> str:
    r"""Return an answer as text in lower case: \text{June 20} is june 20."""
    return " ".join(TEXT.sub(r"\1", answer).casefold().split())


def choice_letter(predicted: str) -> str | None:
    r"""Return the letter of "B", "(B)", "\text{B}", "B) 7 m"; None for other answers."""
    bare = TEXT.sub(r"\1", predicted).strip()
    match = re.fullmatch(r"\(?([A-Za-z])(?:[).:].*)?", bare, re.DOTALL)
    return match[1].upper() if match else None


def score(frame: pl.DataFrame, problems: pl.DataFrame, scoring: Scoring) -> pl.DataFrame:
    """Return problem_id, repeat, predicted, gold, correct of one method on one benchmark.

    `frame`: the answers; `problems`: the problem set with its gold answers.
    """
    joined = frame.join(problems.select("problem_id", "gold"), on="problem_id")
    joined = joined.sort("problem_id", "repeat")
    predicted = [
        last_boxed(text) if reason == "stop" else None
        for text, reason in joined.select("answer_text", "finish_reason").iter_rows()
    ]
    correct = [
        is_correct(p, gold, scoring) for p, gold in zip(predicted, joined["gold"], strict=True)
    ]
    return joined.select("problem_id", "repeat", "gold").with_columns(
        pl.Series("predicted", predicted, dtype=pl.String), pl.Series("correct", correct)
    )
