"""What of a job is there already: its output, and finished answers in the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.analysis.cue_sets import words_in
from stages.config.selection import cues_of as cues_by_name
from stages.generation import asking
from stages.generation.answers import asked
from stages.generation.store import Store, answers_in
from stages.planning.due import NOT_THERE
from stages.planning.jobs import Job
from stages.planning.pair import PlannedPair
from stages.tracking import recipes
from stages.tracking.record import stage_of
from stages.tracking.resolving import settings_of
from stages.tracking.targets import Target

RESULTS = Path("results")
# A set with more problems keeps the prompts of those that it had.
OTHER_SET = "settings: problem_set"


@dataclass(frozen=True)
class Done:
    """Whether a job's output is there; `kept`: answers in the store, for an output that is not."""

    finished: bool
    kept: int = 0


def done(pair: PlannedPair, job: Job, benchmarks: Sequence[str]) -> dict[str, Done]:
    """Return {benchmark: what of a job's answers is there}."""
    is_due = stage_name(pair, job) in pair.due
    finished = [name for name in benchmarks if not is_due and output(pair, job, name).is_file()]
    kept = kept_answers(pair, job, [name for name in benchmarks if name not in finished])
    return {name: Done(name in finished, kept.get(name, 0)) for name in benchmarks}


def stage_name(pair: PlannedPair, job: Job) -> str:
    """Return a job's stage in dvc.yaml."""
    if job.stage in ("infer", "ablation"):
        return stage_of(Target("infer", pair.name, job.method), pair.params)
    return stage_of(Target(job.stage, pair.name), pair.params)


def output(pair: PlannedPair, job: Job, benchmark: str) -> Path:
    """Return the file that a job's answers end in."""
    match job.stage:
        case "traces" | "margins" | "latency" | "throughput":
            return RESULTS / pair.name / f"{job.stage}.parquet"
        case "answer_stage":
            return RESULTS / "summaries" / pair.name / "answer_stage.csv"
    return RESULTS / pair.name / "generations" / job.method / f"{benchmark}.parquet"


def kept_answers(pair: PlannedPair, job: Job, benchmarks: Sequence[str]) -> dict[str, int]:
    """Return {benchmark: answers that the store holds for this run}.

    They depend on the problems and cue sets: nothing is counted before these files are there, or if
    they may become others. Nor are margins and answer stages, which take minutes.
    """
    if problems_may_differ(pair):
        return {}
    if job.stage == "traces":
        return kept_by_method(pair, Target("traces", pair.name), [], benchmarks)
    cue_sets = cues_of(pair)
    if job.stage in ("infer", "ablation") and job.method in cue_sets:
        target = Target("infer", pair.name, job.method)
        return kept_by_method(pair, target, cue_sets[job.method], benchmarks)
    if job.stage == "latency":
        return dict.fromkeys(benchmarks, kept_latencies(pair, cue_sets))
    return {}


def problems_may_differ(pair: PlannedPair) -> bool:
    """Return whether prompts are made anew for more than another number of problems."""
    why = pair.due.get(f"prepare@{pair.name}", [])
    return bool(set(why) - {NOT_THERE, OTHER_SET})


def cues_of(pair: PlannedPair) -> dict[str, list[str]]:
    """Return {method: its cues} of the cue sets that are there and stay as they are."""
    files = (RESULTS / pair.name / "cue_sets").glob("*.yaml")
    anew = f"cue_set@{pair.name}" in pair.due
    return {file.stem: words_in(file) for file in files if not (anew and mined(pair, file.stem))}


def mined(pair: PlannedPair, method: str) -> bool:
    """Return whether a method takes the cues that are mined, of today's methods."""
    known = method in pair.params.all_methods
    return known and cues_by_name(pair.params, pair.name, method) == "mined"


def kept_by_method(
    pair: PlannedPair, target: Target, cues: list[str], benchmarks: Sequence[str]
) -> dict[str, int]:
    """Return {benchmark: answers of a method to its problems in the store}."""
    settings = settings_of(pair.params, target)
    store = asking.answers_store(settings, settings.method, cues)
    column, repeats = settings.method.prompt_column, settings.repeats
    files = {name: RESULTS / pair.name / "problems" / f"{name}.parquet" for name in benchmarks}
    return {
        name: sum(task.key in store for task in asked([file], column, repeats))
        for name, file in files.items()
        if file.is_file()
    }


def kept_latencies(pair: PlannedPair, cue_sets: dict[str, list[str]]) -> int:
    """Return the timed answers in the store that were measured on a machine like this one."""
    settings = settings_of(pair.params, Target("latency", pair.name))
    if not settings.methods.keys() <= cue_sets.keys():
        return 0
    recipe = recipes.latency_recipe(settings, cue_sets)
    return answers_in(Store.under("latency", recipe).folder)
