"""Answers of a method to problem sets: which are asked for, and their table, complete."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from stages.generation.answering import Task, tasks
from stages.generation.store import Store
from stages.runtime.errors import UserError
from stages.tracking.files import Row
from stages.tracking.frames import read_parquet

SEGMENT = pl.Struct(
    {
        "model": pl.String(),
        "stage": pl.String(),
        "n_tokens": pl.Int64(),
        "cue": pl.String(),
        "wall_s": pl.Float64(),
    }
)
SCHEMA = pl.Schema(
    {
        "problem_id": pl.Int64(),
        "repeat": pl.Int64(),
        "answer_text": pl.String(),
        "token_ids": pl.List(pl.Int32()),
        "answer_start": pl.Int64(),
        "large_tokens": pl.Int64(),
        "small_tokens": pl.Int64(),
        "n_switches": pl.Int64(),
        "finish_reason": pl.String(),
        "wall_s": pl.Float64(),
        "segments": pl.List(SEGMENT),
        "prompt_tokens": pl.Int64(),
        "cached_tokens": pl.Int64(),
    }
)


def asked(files: Sequence[Path], prompt_column: str, repeats: int) -> list[Task]:
    """Return the tasks of problem sets: every problem `repeats` times."""
    return [task for file in files for task in tasks(read_parquet(file), repeats, prompt_column)]


def rows(todo: Sequence[Task], store: Store) -> list[Row]:
    """Return the answers to tasks, with whose they are; UserError if the store lacks one."""
    if missing := [task for task in todo if task.key not in store]:
        raise UserError(
            f"{store.folder}: {len(missing)} answers are missing, first: {missing[0]}; "
            "run the stage again that asks for them"
        )
    return [
        {"problem_id": task.problem, "repeat": task.repeat, **store.row(task.key)} for task in todo
    ]


def table(todo: Sequence[Task], store: Store) -> pl.DataFrame:
    """Return the table of answers to tasks, in the order of problem and repeat."""
    return pl.DataFrame(rows(todo, store), schema=SCHEMA).sort("problem_id", "repeat")


def check_complete(frame: pl.DataFrame, problems: pl.DataFrame, repeats: int, path: Path) -> None:
    """Raise UserError unless every problem x repeat is there exactly once."""
    wanted = len(problems) * repeats
    have = frame.select("problem_id", "repeat").n_unique()
    if have != wanted or len(frame) != wanted:
        raise UserError(
            f"{path}: {len(frame)} answers ({have} different) for {wanted} problems x repeats; "
            "run the infer stage again"
        )
