from snakemake.exceptions import WorkflowError
from stages import params as settings
from stages.errors import UserError

if config:
    raise WorkflowError("--config is not read here; edit params.yaml instead")
try:
    PARAMS = settings.load(Path("params.yaml"))
except UserError as error:
    raise WorkflowError(str(error)) from None

# On one machine a job with engines has all cores, lest its engines slow those of another. On a cluster,
# where nobody counts cores, the profile's cpus_per_task says what it gets.
CORES = workflow.resource_settings.cores or 1


def block(*names, pair=None, method=None, roles=None):
    """The blocks of params.yaml that a rule depends on, so that it reruns when they change.

    `roles`: those of the pair's engines that it uses, without any: all.
    """
    blocks = {name: getattr(PARAMS, name) for name in ("seed", *names)}
    if method:
        blocks["method"] = PARAMS.method(method)
        roles = blocks["method"].roles
    if pair:
        engines = PARAMS.pair(pair).engines
        used = {role: engines[role] for role in roles or engines}
        blocks["pair"] = PARAMS.pair(pair).model_copy(update={"engines": used})
    return {
        name: value.model_dump() if hasattr(value, "model_dump") else value
        for name, value in blocks.items()
    }


def own_files(pair):
    """A pair's local problem sets; the prepare stage names one that is missing."""
    sets = PARAMS.pair(pair).problem_sets.values()
    paths = [Path(one.path) for one in sets if one.source == "file"]
    return [str(path) for path in paths if path.is_file()]


def cues_needed(method, pair):
    """What a method's cues are read from: the table of cue effects, or a file of cues."""
    cues = PARAMS.cues_of(pair, method)
    if cues in ("mined", "all"):
        return [f"results/{pair}/cues.csv"]
    return [cues] if Path(cues).is_file() else []


def recipe_of(method, pair):
    """A method's recipe; the ablation's are kept apart, for latency depends on all of the others."""
    folder = "ablation_recipes" if method in PARAMS.ablation.methods else "recipes"
    return f"results/{pair}/{folder}/{method}.yaml"


def parts_of(method, pair):
    """The parts of a method's answers; none where the pair goes without the method."""
    if PARAMS.why_not(pair, method):
        return []
    return expand(
        f"results/{pair}/parts/{method}/{{part}}", part=range(PARAMS.infer.shards)
    )


def generations_of(methods, pair):
    """The folders of methods' answers."""
    return [f"results/{pair}/generations/{method}" for method in methods]


def gpus(pair, roles):
    """The cards of a job with a pair's engines, each of which has its own."""
    engines = PARAMS.pair(pair).engines
    return sum(engines[role].gpus for role in set(roles))


wildcard_constraints:
    pair="|".join(PARAMS.pairs),
    recipes="recipes|ablation_recipes",
    method="|".join(PARAMS.all_methods),
    part=r"\d+",
