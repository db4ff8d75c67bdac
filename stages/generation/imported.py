"""Traces that are there already, written by this pipeline or by another tool, as its own table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from tokenizers import Tokenizer

from stages.analysis import trace_files
from stages.config.families import Family
from stages.config.schema import Model
from stages.config.settings import Settings
from stages.engine import models
from stages.generation.traces import SCHEMA, check_ends
from stages.methods.base import reasoning_end
from stages.methods.matching import CueSet
from stages.methods.offline import setting
from stages.problems.prompts import asked, chat, chat_tokenizer, question
from stages.runtime.errors import UserError
from stages.tracking import jsonl
from stages.tracking.files import Row
from stages.tracking.frames import TRACES, read_parquet

# Where tools put what a model wrote: this pipeline and plain files (text), NeMo-Skills
# (generation), lm-evaluation-harness (resps), lighteval (model_response, before that predictions).
TEXTS = ("text", "generation", "resps", "model_response", "predictions")
QUESTIONS = ("problem", "question", "query")
FORMS = (
    "each row needs what was written, under one of the keys " + ", ".join(TEXTS) + ", and what was "
    "asked: problem, messages or prompt"
)


@dataclass
class Importer:
    """Makes traces of rows: by the small model's tokenizer, chat template and the family."""

    served: Model
    family: Family
    tokenizer: Tokenizer = field(init=False)
    loaded: Any = field(init=False)
    numbers: dict[str, int] = field(default_factory=dict)  # {problem: its number}
    repeats: dict[int, int] = field(default_factory=dict)  # {number: traces of it so far}

    def __post_init__(self) -> None:
        self.tokenizer = models.tokenizer(self.served)
        self.loaded = chat_tokenizer(self.served)

    def traces(self, path: Path) -> Iterator[Row]:
        """Yield the traces of a file; UserError names the row that is none."""
        for where, row in rows_of(path):
            texts = written(row)
            if not texts:
                raise UserError(f"{where}: {FORMS}; it has: {', '.join(row)}")
            prompt = self.prompt(row, where)
            for text in texts:
                yield self.trace(row, prompt, text, where)

    def prompt(self, row: Row, where: str) -> str:
        """Return what was asked in a row, with the chat's markup."""
        document = row["doc"] if isinstance(row.get("doc"), dict) else {}
        problem = next(
            (found for key in QUESTIONS for found in (row.get(key), document.get(key)) if found),
            None,
        )
        if messages := row.get("messages"):
            return self.chat(before_answer(messages, where))
        if isinstance(problem, str):
            (words,) = asked([problem], self.family.prompts["plain"]["math"])
            return self.chat(question(words))
        if isinstance(row.get("prompt"), str):
            return str(row["prompt"])
        raise UserError(f"{where}: {FORMS}; it has: {', '.join(row)}")

    def chat(self, messages: list[Row]) -> str:
        """Return the text of a chat."""
        known: Row = {"tokenizer": self.served, "template_args": self.family.template_args}
        return chat(messages, self.loaded, Settings.model_construct(**known))

    def trace(self, row: Row, prompt: str, text: str, where: str) -> Row:
        """Return one trace, as traces.parquet has it."""
        prompt, text = self.opened(prompt, text)
        ids = trace_files.encode(text, self.tokenizer, where)
        end = reasoning_end(ids, setting(self.tokenizer, CueSet(()), 0, self.family.marks))
        number = self.number(str(row.get("problem_id", prompt)))
        return {
            "problem_id": number,
            "repeat": self.repeats[number] - 1,
            "text": text,
            "token_ids": ids,
            "prompt_ids": self.encode(prompt),
            "reasoning_tokens": len(ids) if end is None else end,
            "n_tokens": len(ids),
            "finished": end is not None,
        }

    def opened(self, prompt: str, text: str) -> tuple[str, str]:
        """Return prompt and text with the opening tag once; assumed where neither has it.

        Servers with a reasoning parser leave it out. Models that do not know it get none.
        """
        tag = self.family.think_start
        if prompt.rstrip().endswith(tag):
            return prompt, text.removeprefix(tag).lstrip("\n") if text.startswith(tag) else text
        if text.lstrip().startswith(tag) or len(self.encode(tag)) != 1:
            return prompt, text
        return prompt, f"{tag}\n{text}"

    def number(self, problem: str) -> int:
        """Return the number of a problem, and count its trace."""
        number = self.numbers.setdefault(problem, len(self.numbers))
        self.repeats[number] = self.repeats.get(number, 0) + 1
        return number

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)


def table(path: Path, served: Model, family: Family) -> pl.DataFrame:
    """Return the traces of a file: this pipeline's Parquet as it is, others made into its form.

    Raises UserError, with file and row, for what is no trace, and if no trace ends its reasoning.
    """
    if path.suffix == ".parquet" and set(TRACES.columns) <= set(read_parquet(path).columns):
        return read_parquet(path, TRACES)
    frame = pl.DataFrame(list(Importer(served, family).traces(path)), schema=SCHEMA)
    if frame.is_empty():
        raise UserError(f"{path}: holds no trace")
    ends = pl.when("finished").then("reasoning_tokens")
    check_ends(frame.select(ends).to_series(), family.think_end)
    return frame


def rows_of(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield where each row is, and its content."""
    readers: dict[str, Callable[[Path], Iterator[tuple[str, Row]]]] = {
        ".jsonl": lambda path: ((where, row) for _, where, row in jsonl.read(path, "line")),
        ".parquet": of_parquet,
    }
    if path.suffix not in readers:
        raise UserError(f"{path}: not a trace file; give one that ends in .parquet or .jsonl")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    yield from readers[path.suffix](path)


def of_parquet(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield where each row of a Parquet file is, and its columns."""
    for number, row in enumerate(read_parquet(path).iter_rows(named=True), start=1):
        yield f"{path}, row {number}", row


def written(row: Row) -> list[str]:
    """Return what a model wrote in a row: one text or, of several samples, each."""
    text = next((row[key] for key in TEXTS if row.get(key)), None)
    if text is None and row.get("messages"):
        last = row["messages"][-1]
        text = last.get("content") if last.get("role") == "assistant" else None
    return list(flat(text))


def flat(value: Any) -> Iterator[str]:
    """Yield the texts in a value: a text, lists of such, or a map with one under `text`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from flat(value.get("text"))
    elif isinstance(value, list):
        for one in value:
            yield from flat(one)


def before_answer(messages: Any, where: str) -> list[Row]:
    """Return the messages of a chat up to the answer; UserError if they are none."""
    found = messages if isinstance(messages, list) else []
    if not all(isinstance(one, dict) and {"role", "content"} <= set(one) for one in found):
        raise UserError(f"{where}: messages are not a list of maps with role and content")
    return found[:-1] if found and found[-1]["role"] == "assistant" else found
