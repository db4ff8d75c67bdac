"""Read problem sets from three sources: the bundled task, the model hub, a local file."""

import hashlib
import json
import logging
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from string import ascii_uppercase
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import constants

from demo_pair import task
from stages.config.schema import AnySet, Columns, DemoPair, File, Given, Hub, Traces
from stages.engine.hub import check_readable, one_line, unreachable
from stages.problems import cells
from stages.runtime.errors import UserError
from stages.tracking import jsonl
from stages.tracking.files import Row

log = logging.getLogger(__name__)
INSTEAD = "give the problems as a local file (source: file)"


@dataclass(frozen=True)
class Problem:
    """A problem of a source; with `choices`, `answer` is the letter of the right one."""

    problem_id: int
    text: str
    answer: str
    choices: tuple[str, ...] = ()


def load(name: str, benchmark: AnySet, seed: int, shuffle: bool = True) -> tuple[pl.DataFrame, Row]:
    """Return the table problem_id, problem (with its options), gold, and where it comes from.

    `shuffle`: whether options are put in an order drawn per problem. Traces that are there already
    take the place of problems: there are none.
    """
    if isinstance(benchmark, Traces):
        return table([], shuffle, seed), benchmark.model_dump()
    if isinstance(benchmark, DemoPair):
        problems = from_demo_pair(name, benchmark.n_problems, seed)
        origin = {**benchmark.model_dump(), "sha256": checksum(problems)}
        return table(problems, shuffle=False, seed=seed), origin
    where = benchmark.path if isinstance(benchmark, File) else f"{benchmark.path} on the hub"
    rows = from_file(benchmark) if isinstance(benchmark, File) else from_hub(benchmark)
    problems = as_problems(where, rows, with_choices=benchmark.scoring == "choice")
    origin = {**benchmark.model_dump(), "sha256": checksum(problems)}
    log.info("%s: %s, %d problems, sha256 %s", name, where, len(problems), origin["sha256"])
    check(f"{name}: {where}", benchmark, len(problems), origin["sha256"])
    return table(problems[: benchmark.n_problems], shuffle, seed), origin


def check(where: str, wanted: Given, n: int, sha256: str) -> None:
    """Raise UserError unless the problems have the checksum and number that params.yaml gives."""
    if wanted.sha256 not in (None, sha256):
        raise UserError(f"{where} has sha256 {sha256}, params.yaml says {wanted.sha256}")
    if wanted.n_problems and n < wanted.n_problems:
        raise UserError(f"{where} has {n} problems, n_problems is {wanted.n_problems}")


def checksum(problems: Iterable[Problem]) -> str:
    """Return the SHA-256 of problems, options and answers in the source's order, of all of them."""
    content = [[problem.text, problem.choices, problem.answer] for problem in problems]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def table(problems: Sequence[Problem], shuffle: bool, seed: int) -> pl.DataFrame:
    """Return the table problem_id, problem, gold, with lettered options below the problem."""
    asked = [lettered(problem, shuffle, seed) for problem in problems]
    return pl.DataFrame(
        {
            "problem_id": [problem.problem_id for problem in problems],
            "problem": [text for text, _ in asked],
            "gold": [gold for _, gold in asked],
        }
    )


def lettered(problem: Problem, shuffle: bool, seed: int) -> tuple[str, str]:
    """Return (problem with its options, gold); seed and problem_id give the options' order."""
    if not problem.choices:
        return problem.text, problem.answer
    order = list(range(len(problem.choices)))
    if shuffle:
        Random(f"{seed}/{problem.problem_id}").shuffle(order)
    options = [
        f"{letter}) {problem.choices[i]}" for letter, i in zip(ascii_uppercase, order, strict=False)
    ]
    gold = ascii_uppercase[order.index(ascii_uppercase.index(problem.answer))]
    return "\n".join([f"{problem.text}\n", *options]), gold


def from_demo_pair(name: str, n: int, seed: int) -> list[Problem]:
    """Return `n` problems of the bundled task, whose questions include their options."""
    if name not in task.SPLITS:
        raise UserError(f"demo_pair has no problem set '{name}', it has: {', '.join(task.SPLITS)}")
    drawn = task.problems(name, n, seed)
    return [Problem(i, problem.question, problem.answer) for i, problem in enumerate(drawn)]


def as_problems(where: str, rows: Sequence[tuple[int, Row]], with_choices: bool) -> list[Problem]:
    """Return the problems of `rows`: (number in the source, row); UserError if one is not valid.

    A row has problem, answer, and perhaps problem_id and choices.
    """
    if not rows:
        raise UserError(f"{where} is empty")
    columns = dict.fromkeys(column for _, row in rows for column in row)
    wanted = ("problem", "answer", "choices") if with_choices else ("problem", "answer")
    need_columns(where, columns, wanted)
    problems: dict[int, Problem] = {}
    for i, (number, row) in enumerate(rows):
        if "problem_id" in columns and row.get("problem_id") is None:
            raise UserError(f"{where}, row {number}: no problem_id, but there is such a column")
        problem = as_problem(f"{where}, row {number}", row, i, with_choices)
        if problem.problem_id in problems:
            raise UserError(f"{where}, row {number}: problem_id {problem.problem_id} again")
        problems[problem.problem_id] = problem
    return list(problems.values())


def need_columns(where: str, columns: Iterable[str], wanted: Iterable[str]) -> None:
    """Raise UserError, which lists the columns, if a wanted one is missing."""
    there = list(columns)
    for column in wanted:
        if column not in there:
            raise UserError(f"{where} has no column '{column}', it has: {', '.join(there)}")


def as_problem(where: str, row: Row, default_id: int, with_choices: bool) -> Problem:
    """Return the problem of one row; UserError, with `where`, if it is not valid."""
    text, answer = (cells.text(row.get(name), where, name) for name in ("problem", "answer"))
    number = cells.problem_id(row.get("problem_id", default_id), where)
    if not text:
        raise UserError(f"{where}: the problem is empty")
    if not answer:
        raise UserError(f"{where}: there is no answer")
    if not with_choices:
        return Problem(number, text, answer)
    choices = as_choices(row.get("choices"), where)
    letters = ascii_uppercase[: len(choices)]
    if len(answer) != 1 or answer not in letters:
        raise UserError(
            f"{where}: answer {reprlib.repr(answer)} is not the letter of a choice, "
            f"A to {letters[-1]}"
        )
    return Problem(number, text, answer, choices)


def as_choices(given: Any, where: str) -> tuple[str, ...]:
    """Return a row's options; UserError if there are too few or two without blanks are the same."""
    options = given if isinstance(given, list) else []
    choices = tuple(cells.text(option, where, "choices") for option in options)
    if not 2 <= len(choices) <= len(ascii_uppercase) or "" in choices:
        raise UserError(f"{where}: choices must be 2 to 26 texts")
    for letter, choice in zip(ascii_uppercase, choices, strict=False):
        first = ascii_uppercase[choices.index(choice)]
        if first != letter:
            same = reprlib.repr(choice)
            raise UserError(f"{where}: choices {first} and {letter} are the same: {same}")
    return choices


def from_file(file: File) -> list[tuple[int, Row]]:
    """Return (number from 1, row) of a JSONL or Parquet file."""
    path = Path(file.path)
    if path.suffix not in (".jsonl", ".parquet"):
        raise UserError(f"{path}: a local benchmark is a .jsonl or a .parquet file")
    if not path.is_file():
        raise UserError(f"{path}: no such file (source: file)")
    if path.suffix == ".jsonl":
        rows = [(number, row) for number, _, row in jsonl.read(path, "row")]
    else:
        rows = list(enumerate(parquet_rows(path), start=1))
    return named(rows, file.columns, str(path)) if file.columns else rows


def named(rows: Iterable[tuple[int, Row]], columns: Columns, where: str) -> list[tuple[int, Row]]:
    """Return rows with the names problem, answer and choices; UserError if a column is missing."""
    wanted = [columns.problem, columns.answer, *columns.wrong, *filter(None, [columns.choices])]
    found: list[tuple[int, Row]] = []
    for number, given in rows:
        need_columns(f"{where}, row {number}", given, wanted)
        row = {"problem": given[columns.problem], "answer": given[columns.answer]}
        if columns.wrong:
            options = [given[column] for column in (columns.answer, *columns.wrong)]
            row.update(answer="A", choices=options)
        elif columns.choices:
            row["choices"] = given[columns.choices]
        if "problem_id" in given:
            row["problem_id"] = given["problem_id"]
        found.append((number, row))
    return found


def parquet_rows(path: Path) -> list[Row]:
    """Return the rows of a Parquet file; a short floating-point number is what it prints."""
    try:
        table = pq.ParquetFile(path).read()
        for i, field in enumerate(table.schema):
            if pa.types.is_float32(field.type):  # 0.1, not 0.10000000149011612
                printed = table[i].cast(pa.string()).cast(pa.float64())
                table = table.set_column(i, field.name, printed)
        rows: list[Row] = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a Parquet file ({one_line(error)})") from error
    return rows


def from_hub(hub: Hub) -> list[tuple[int, Row]]:
    """Return (number from 1, row) of a data set on the hub, the right option first."""
    if not constants.HF_HUB_OFFLINE:
        check_readable("dataset", hub.path, hub.revision, INSTEAD)
    data = download(hub)
    columns, where = hub.columns, f"{hub.path} on the hub"
    wanted = (columns.problem, columns.answer, *columns.wrong, *filter(None, [columns.choices]))
    need_columns(where, data.column_names, wanted)
    kept = [{name: given[name] for name in wanted} for given in data]
    return named(enumerate(kept, start=1), columns, where)


def download(hub: Hub) -> Any:
    """Return the data set, from the hub or from the cache.

    Without the hub, the library takes any revision from the cache; UserError if it is another one.
    """
    import datasets  # takes seconds

    try:
        data = datasets.load_dataset(hub.path, hub.config, split=hub.split, revision=hub.revision)
    except ConnectionError as error:
        raise unreachable(hub.path, error, INSTEAD) from error
    except Exception as error:  # no such config or split, broken files: many types
        raise UserError(f"{hub.path} on the hub: {one_line(error)}") from error
    if any(hub.revision not in Path(file["filename"]).parts for file in data.cache_files):
        raise UserError(f"{hub.path}: the cache holds another revision than {hub.revision}")
    return data
