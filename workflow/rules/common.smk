import os
import re
from contextlib import suppress

from snakemake.exceptions import WorkflowError
from stages.analysis.listing import FIGURES, OF_LOAD, TABLES
from stages.config import params as settings
from stages.config import contenders, selection, sharing
from stages.engine.gpus import n_cards, visible_gpus
from stages.engine.spec import replicated, specs
from stages.runtime.errors import UserError
from stages.tracking import recipes, status
from stages.tracking.targets import Target

SUFFIXES = ("pdf", "txt", "provenance.json")  # of a figure, beside the PNG

os.environ.update(PYTHONUTF8="1")  # for the jobs, whatever the locale
if config:
    raise WorkflowError("--config is not read here; edit params.yaml instead")
try:
    PARAMS = settings.load(Path("params.yaml"))
    OUT_OF_DATE = status.to_force(PARAMS) if workflow.is_main_process else []
except UserError as error:
    raise WorkflowError(str(error)) from None


def prepare_dag(*args, plain=workflow._prepare_dag, **kwargs):
    """Have Snakemake make again what stages/tracking/status.py finds out of date.

    Its own triggers know times and parameters; a result depends on code and models as well. As with
    outputs of a killed run, only those are made again that a target needs.
    """
    plain(*args, **kwargs)
    workflow.dag.forcefiles.update(OUT_OF_DATE)


workflow._prepare_dag = prepare_dag

# On one machine a job with engines has all cores, so that engine jobs never share the machine. On a
# cluster, where nobody counts cores, the profile's cpus_per_task says what it gets.
CORES = workflow.resource_settings.cores or 1

# Jobs whose engines compute on GPUs take fewer cores: as many run as there are GPUs for.
CORES_ON_GPUS = 8


def on_gpus(pair):
    """Whether a pair's engines compute on GPUs."""
    return any(served.gpus for served in PARAMS.pair(pair).engines.values())


if workflow.is_main_process and CORES > 1 and any(map(on_gpus, PARAMS.run)):
    with suppress(UserError):  # stages/runtime/machine.py says what is wrong
        workflow.global_resources.setdefault("gpu", len(visible_gpus()))


def recipe(stage, pair=None, name=None):
    """The file that says what a stage's result depends on, for the stage to compare."""
    return str(Target(stage, pair, name).path)


def sets_of(pair):
    """The problem sets of a pair: its calibration set and its benchmarks."""
    return expand(
        "results/{pair}/problems/{set}.parquet",
        pair=pair,
        set=PARAMS.pair(pair).problem_sets,
    )


def benchmarks_of(pair, method="large"):
    """The problem sets that a method answers."""
    names = selection.benchmarks_of(PARAMS, pair, method)
    return expand("results/{pair}/problems/{set}.parquet", pair=pair, set=names)


def mined(pair, method):
    """The selected cues, for a method that takes them; the others do not wait for them."""
    if selection.skip_reason(PARAMS, pair, method):
        return []
    takes_them = selection.cues_of(PARAMS, pair, method) == "mined"
    return [f"results/{pair}/selected_cues.yaml"] if takes_them else []


def receipts_of(method, pair):
    """The receipts of the jobs that ask for a method's answers; none where the pair lacks it."""
    if selection.skip_reason(PARAMS, pair, method):
        return []
    return expand(
        f"results/{pair}/receipts/{method}/{{part}}.json",
        part=range(PARAMS.infer.shards),
    )


def methods_of(pair):
    """The methods that are compared for a pair."""
    return list(selection.methods_of(PARAMS, pair))


def together(pair):
    """{engines: the methods that share them}; without them each method's job starts its own."""
    return sharing.sets_of_engines(PARAMS, pair)


def generations_of(methods, pair):
    """The folders of methods' answers."""
    return [f"results/{pair}/generations/{method}" for method in methods]


def cores(pair):
    """The cores of a job with a pair's engines: all, where it cannot share the machine."""
    shares = on_gpus(pair) and PARAMS.engines.base_port is None
    return min(CORES, CORES_ON_GPUS) if shares else CORES


def cores_together(pair):
    """The same for methods that are asked together.

    On a CPU, sets of engines work side by side: while one of a relay's engines writes, the other
    one waits. Not where ports are given, which all jobs' servers take.
    """
    alone = on_gpus(pair) or PARAMS.engines.base_port
    return cores(pair) if alone else PARAMS.engines.cpu_threads


def gpus(pair, roles):
    """The GPUs of a job with a pair's engines."""
    return n_cards(specs(PARAMS.pair(pair), PARAMS.engines, roles, concurrency=1))


def gpus_under_load(pair):
    """The GPUs of a job that starts the engines of one method after those of another."""
    one = contenders.largest(PARAMS, pair)
    wanted = specs(PARAMS.pair(pair), PARAMS.engines, one.roles, concurrency=1)
    return n_cards(replicated(wanted, one.replicas))


def tables_of(pair):
    """The tables that a pair has: that of answers under load is made only where it is asked for."""
    return [name for name in TABLES if name != OF_LOAD or pair in PARAMS.throughput.run]


ALL_TABLES = sorted({table for pair in PARAMS.run for table in tables_of(pair)})


def one_of(names):
    """A pattern for one of these names, which may have dots."""
    return "|".join(map(re.escape, dict.fromkeys(names)))


wildcard_constraints:
    pair=one_of(PARAMS.pairs),
    set=one_of(s for p in PARAMS.pairs.values() for s in p.problem_sets),
    method=one_of(PARAMS.all_methods),
    engines="[^/]+",
    part=r"\d+",
