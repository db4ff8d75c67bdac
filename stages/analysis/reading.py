"""An answer to read: its text in parts, each by one model, with cues and times; and which of a
run's answers are shown in the report.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

import polars as pl

from stages.tracking.files import Row

Decode = Callable[[Sequence[int]], str]
BEFORE = 8  # tokens: some tokenizers write a token's first blank only behind another


class Part(NamedTuple):
    """A segment as text. `by`: large or small; `stage`: reasoning or answer."""

    by: str
    stage: str
    text: str
    cue: str | None
    tokens: int
    seconds: float


def parts(answer: Row, decode: Decode) -> list[Part]:
    """Return the segments of an answer, a row of METHOD/BENCHMARK.parquet, as text."""
    ids, end, found = answer["token_ids"], 0, []
    for segment in answer["segments"]:
        begin, end = end, end + segment["n_tokens"]
        found.append(
            Part(
                segment["model"],
                segment["stage"],
                decoded(ids, begin, end, decode),
                (segment["cue"] or "").strip() or None,
                segment["n_tokens"],
                round(segment["wall_s"], 4),
            )
        )
    return found


def decoded(ids: Sequence[int], begin: int, end: int, decode: Decode) -> str:
    """Return the text that the tokens from `begin` to `end` add to those before them."""
    before = decode(ids[max(0, begin - BEFORE) : begin])
    return decode(ids[max(0, begin - BEFORE) : end])[len(before) :]


def shown_answer(answer: Row, score: Row, decode: Decode) -> Row:
    """Return an answer as the report keeps it. `score`: its row of scores.parquet."""
    return {
        "predicted": score["predicted"],
        "correct": score["correct"],
        "finish": answer["finish_reason"],
        "seconds": round(answer["wall_s"], 3),
        "hand_offs": answer["n_switches"],
        "parts": [list(part) for part in parts(answer, decode)],
    }


def problem_order(scores: pl.DataFrame) -> list[tuple[str, int]]:
    """Return (benchmark, problem) in the order in which the report takes them.

    The benchmarks take turns; of each, problems come first that some method answered wrong.
    `scores`: rows of one repeat.
    """
    right = scores.group_by("benchmark", "problem_id", maintain_order=True).agg(
        pl.col("correct").all()
    )
    queues = [
        [(benchmark, problem) for benchmark, problem, _ in rows.sort("correct").iter_rows()]
        for rows in right.partition_by("benchmark", maintain_order=True)
    ]
    return [one for one in chain.from_iterable(zip_longest(*queues)) if one]


def within(problems: Iterable[Row], most_bytes: int) -> list[Row]:
    """Return the first problems, as many as fit into a page that has room for `most_bytes`."""
    kept, size = [], 0
    for one in problems:
        size += len(json.dumps(one, ensure_ascii=False).encode())
        if size > most_bytes:
            break
        kept.append(one)
    return kept


def to_read(
    scores: pl.DataFrame,
    problems: Mapping[str, pl.DataFrame],
    answers: Mapping[tuple[str, str], pl.DataFrame],
    decode: Decode,
) -> Iterator[Row]:
    """Yield problems with every method's first answer, in the order of `problem_order`.

    `scores`: of one pair; `problems`: {benchmark: its set}; `answers`: {(method, benchmark): rows}.
    """
    first = scores.filter(repeat=0)
    judged = {
        (row["method"], row["benchmark"], row["problem_id"]): row
        for row in first.iter_rows(named=True)
    }
    texts = {
        name: dict(table.select("problem_id", "prompt").rows()) for name, table in problems.items()
    }
    for benchmark, problem in problem_order(first):
        methods = [method for method, name in answers if name == benchmark]
        rows = {method: one_answer(answers[method, benchmark], problem) for method in methods}
        yield {
            "benchmark": benchmark,
            "id": problem,
            "problem": texts[benchmark][problem],
            "gold": judged[methods[0], benchmark, problem]["gold"],
            "answers": {
                method: shown_answer(row, judged[method, benchmark, problem], decode)
                for method, row in rows.items()
            },
        }


def one_answer(answers: pl.DataFrame, problem: int, repeat: int = 0) -> Row:
    """Return the answer to a problem."""
    return answers.row(
        by_predicate=(pl.col("problem_id") == problem) & (pl.col("repeat") == repeat), named=True
    )
