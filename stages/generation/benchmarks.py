"""What a method is asked for: all of a pair's benchmarks, or one of several jobs' share of them."""

from pathlib import Path

from stages.analysis.cue_sets import words_in
from stages.generation import asking
from stages.generation.answers import asked
from stages.generation.asking import Wanted
from stages.problems.availability import available
from stages.tracking.frames import PROMPTS, check_parquet
from stages.tracking.recipes import Job


def files_of(job: Job, problems: Path) -> list[Path]:
    """Return the problem sets in a folder that a method answers: those that are to be had.

    Raises UserError if one is damaged.
    """
    files = [problems / f"{name}.parquet" for name in available(job.settings.benchmarks, problems)]
    for file in files:
        check_parquet(file, PROMPTS)
    return files


def label(about: str, parts: int, part: int) -> str:
    """Return the name of a job in messages: no two that run side by side have the same."""
    return f"{about}, part {part + 1} of {parts}" if parts > 1 else about


def wanted(job: Job, files: list[Path], cue_set: Path, part: int) -> Wanted:
    """Return the answers that a job asks for. `part`: which of infer.shards, from 0."""
    settings, parts = job.settings, job.infer.shards
    todo = asked(files, settings.method.prompt_column, settings.repeats)
    share = asking.share(todo, part, parts)
    return Wanted(job, settings.method, words_in(cue_set), share, f"{part + 1}of{parts}")
