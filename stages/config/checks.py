"""What params.yaml says in two places and must agree on: names, sizes, cues and problem sets."""

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from stages.analysis.cue_sets import cue_words, reference
from stages.config import names
from stages.config.schema import Benchmark, DemoPair, File, Model, Pair, Params, Traces
from stages.config.selection import skip_reason, with_defaults
from stages.engine import router_file
from stages.methods.base import ENTROPY, OF_PAIR
from stages.runtime.errors import UserError

NEEDED_METHODS = {
    "large": "every speedup is against it",
    "relaygen": "the ablation compares its variants with it",
}
# The sets of the bundled task and their scoring. Not imported from there: every stage reads
# params.yaml, and would depend on the task's code.
TOY_SETS = {
    "train": "math",
    "train_choice": "choice",
    "chains_short": "math",
    "chains_long": "math",
    "chains_choice": "choice",
    "chains_calibration": "math",
}
MOST_TOY_PROBLEMS = 100_000  # chains_short has 400,000, drawn at random until they are different
CUES = ("mined", "published", "all", "none")  # what a pair's cues may be, besides a set or a file


def mismatches(params: Params) -> Iterator[str]:
    """Yield a line for each entry that does not agree with another one, or with a file."""
    yield from names_in(params)
    yield from methods_in(params)
    for name, pair in params.pairs.items():
        yield from cues_in(f"pairs.{name}", pair)
        for kind, sets in (("calibration", pair.calibration), ("benchmarks", pair.benchmarks)):
            for set_name, one in sets.items():
                if isinstance(one, DemoPair):
                    yield from toy_problems(f"pairs.{name}.{kind}.{set_name}", set_name, one)
    yield from run_in(params)
    yield from under_load(params)


def names_in(params: Params) -> Iterator[str]:
    """Yield names that would stand for the same files or the same stage of DVC."""
    groups: dict[str, Iterable[str]] = {"pairs": params.pairs, "methods": params.all_methods}
    groups |= {f"pairs.{name}": pair.problem_sets for name, pair in params.pairs.items()}
    for key, group in groups.items():
        if both := names.alike(group):
            yield f"{key}: '{both[0]}' and '{both[1]}' differ in case alone: rename one"
    if shared := set(params.methods) & set(params.ablation.methods):
        yield f"ablation.methods.{shared.pop()}: methods has this name too"
    for name, n in Counter(params.run).items():
        if n > 1:
            yield f"run: pair '{name}' is there {n} times: remove the others"
    for methods in (params.methods, params.ablation.methods):
        stages = Counter(f"{pair}-{method}" for pair in params.run for method in methods)
        for stage, n in stages.items():
            if n > 1:
                yield f"run: two pairs and methods would both be DVC's stage '{stage}': rename one"


def methods_in(params: Params) -> Iterator[str]:
    """Yield methods that a run needs and that are not there."""
    for needed, reason in NEEDED_METHODS.items():
        if needed not in params.methods:
            yield f"methods.{needed} is missing: {reason}"


def without_engines(params: Params) -> Iterator[str]:
    """Yield a line for each method that every pair goes without: no mistake, but worth saying."""
    roles = {role for pair in params.pairs.values() for role in pair.engines}
    for name, method in params.all_methods.items():
        for role in sorted(set(method.roles) - roles):
            have = ", ".join(sorted(roles))
            yield f"method '{name}' is left out: no pair has an engine '{role}', known: {have}"


def cues_in(key: str, pair: Pair) -> Iterator[str]:
    """Yield what is wrong with the choice of a pair's cues, as far as no file has to be read."""
    published = list(reference()["published"])
    if pair.published not in (None, *published):
        yield f"{key}.published: unknown '{pair.published}', known: {', '.join(published)}"
    known = [*CUES, *published]
    if pair.cues not in known and Path(pair.cues).suffix not in (".csv", ".yaml"):
        close = difflib.get_close_matches(pair.cues, known, n=1)
        meant = f", did you mean '{close[0]}'?" if close else ""
        yield (
            f"{key}.cues: '{pair.cues}' is neither one of {', '.join(known)} nor a .csv or .yaml "
            f"file{meant}"
        )


def toy_problems(key: str, name: str, wanted: DemoPair) -> Iterator[str]:
    """Yield what the bundled task cannot give of a set."""
    if name not in TOY_SETS:
        yield f"{key}: demo_pair has no problem set '{name}', known: {', '.join(TOY_SETS)}"
    elif wanted.n_problems > MOST_TOY_PROBLEMS:
        yield f"{key}.n_problems: {wanted.n_problems}; demo_pair gives {MOST_TOY_PROBLEMS} at most"
    elif wanted.scoring != TOY_SETS[name]:
        yield f"{key}.scoring: this set goes with scoring: {TOY_SETS[name]}"


def under_load(params: Params) -> Iterator[str]:
    """Yield what is wrong with the pairs that are to be measured under load."""
    for name in params.throughput.run:
        if name not in params.run:
            have = ", ".join(params.run)
            yield f"throughput.run: pair '{name}' is not among those that run: {have}"


def run_in(params: Params) -> Iterator[str]:
    """Yield what is wrong with the pairs that are to run."""
    for name in params.run:
        if name not in params.pairs:
            yield f"run: unknown pair '{name}', known: {', '.join(params.pairs)}"
            continue
        for needed in NEEDED_METHODS:
            if why := skip_reason(params, name, needed):
                yield f"methods.{needed}: {why}"
        yield from files_of(f"pairs.{name}", params.pair(name))
        yield from routers_in(params, name)
        yield from too_few_to_time(params, name)


def files_of(key: str, pair: Pair) -> Iterator[str]:
    """Yield the local files of a pair that are not there, and what is wrong with its cues."""
    try:
        cue_words(pair.cues, pair.published)
    except UserError as error:
        yield f"{key}.cues: {error}"
    for kind, sets in (("calibration", pair.calibration), ("benchmarks", pair.benchmarks)):
        for name, one in sets.items():
            if isinstance(one, File | Traces) and not Path(one.path).is_file():
                yield f"{key}.{kind}.{name}.path: {one.path}: no such file"


def routers_in(params: Params, pair: str) -> Iterator[str]:
    """Yield what is wrong with the routers of a pair's methods, and with engines that have any."""
    for name in params.all_methods:
        if skip_reason(params, pair, name):
            continue
        of_pair = OF_PAIR in params.method(name).routers.values()
        key = f"pairs.{pair}.router" if of_pair else f"methods.{name}.router"
        for role, router in with_defaults(params, pair, name).routers.items():
            served = params.pair(pair).engines[role]
            if served.speculation:
                yield f"methods.{name}: engine '{role}' drafts tokens: they are not routed"
            if router != ENTROPY and (why := unfit(Path(router), served)):
                yield f"{key}: {why}"


def unfit(router: Path, served: Model) -> str | None:
    """Return why a router does not go with a model; None if it does, as far as is known here."""
    config = Path(served.model) / "config.json"
    try:
        router_file.read(router)
        if not served.revision and config.is_file():
            router_file.check(router, json.loads(config.read_text(encoding="utf-8")))
    except UserError as error:
        return str(error)
    return None


def too_few_to_time(params: Params, name: str) -> Iterator[str]:
    """Yield a line if the speed benchmark has fewer problems than are to be timed."""
    wanted, benchmark = params.latency.n_problems, params.pair(name).speed_benchmark
    n = n_problems(params.pair(name).benchmarks[benchmark])
    if n is not None and n < wanted:
        yield (
            f"latency.n_problems: {wanted}, and the speed benchmark of pair '{name}', "
            f"{benchmark}, has {n} problems: raise its n_problems or lower this"
        )


def n_problems(benchmark: Benchmark) -> int | None:
    """Return how many problems a set has; None where that is known only once it is read."""
    if isinstance(benchmark, File) and benchmark.n_problems is None:
        path = Path(benchmark.path)
        if path.suffix != ".jsonl" or not path.is_file():
            return None
        with path.open("rb") as lines:
            return sum(1 for line in lines if line.strip())
    return benchmark.n_problems
