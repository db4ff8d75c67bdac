"""What of a job is there already: its output, and finished answers in the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.analysis.cue_sets import words_in
from stages.generation import asking
from stages.generation.answers import asked
from stages.planning.jobs import Job
from stages.planning.pair import PlannedPair
from stages.tracking import recipes
from stages.tracking.recipes import Target

RESULTS = Path("results")


@dataclass(frozen=True)
class Done:
    """Whether a job's output is there; `kept`: answers in the store, for an output that is not."""

    finished: bool
    kept: int = 0


def done(pair: PlannedPair, job: Job, benchmarks: Sequence[str]) -> dict[str, Done]:
    """Return {benchmark: what of a job's answers is there}."""
    finished = [name for name in benchmarks if output(pair, job, name).is_file()]
    kept = kept_answers(pair, job, [name for name in benchmarks if name not in finished])
    return {name: Done(name in finished, kept.get(name, 0)) for name in benchmarks}


def output(pair: PlannedPair, job: Job, benchmark: str) -> Path:
    """Return the file that a job's answers end in."""
    match job.stage:
        case "traces" | "margins" | "latency":
            return RESULTS / pair.name / f"{job.stage}.parquet"
        case "answer_stage":
            return RESULTS / "summaries" / pair.name / "answer_stage.csv"
    return RESULTS / pair.name / "generations" / job.method / f"{benchmark}.parquet"


def kept_answers(pair: PlannedPair, job: Job, benchmarks: Sequence[str]) -> dict[str, int]:
    """Return {benchmark: answers that the store holds for this run}.

    They depend on the problems and the cue set: without these files, nothing is counted. Only
    answers to problem sets are.
    """
    folder = RESULTS / pair.name
    files = {name: folder / "problems" / f"{name}.parquet" for name in benchmarks}
    cue_set = folder / "cue_sets" / f"{job.method}.yaml"
    if job.stage == "traces":
        target, words = Target("traces", pair.name), []
    elif job.stage in ("infer", "ablation") and cue_set.is_file():
        target, words = Target("infer", pair.name, job.method), words_in(cue_set)
    else:
        return {}
    settings = recipes.settings_of(pair.params, target)
    store = asking.answers_store(settings, settings.method, words)
    column, repeats = settings.method.prompt_column, settings.repeats
    return {
        name: sum(task.key in store for task in asked([file], column, repeats))
        for name, file in files.items()
        if file.is_file()
    }
