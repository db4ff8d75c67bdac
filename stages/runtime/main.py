"""The console command `relaygen`.

A command imports what it needs when it is called, so that help and completion stay fast.
"""

import importlib
import sys
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stages import perf
from stages.runtime import command_line
from stages.runtime.errors import UserError

BENCH = Path("results/bench")
Decorator = Callable[[Callable[..., None]], Callable[..., None]]

Params = Annotated[Path, typer.Option(help="The settings of the run.")]
Log = Annotated[Path | None, typer.Option(help="Also log to this file.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def examples(*commands: str) -> str:
    """Return the last part of a help text: commands as they are typed, one a line."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in commands)])


# Plain help texts: importing Rich would take longer than everything else.
app = typer.Typer(
    help="Run and inspect the RelayGen pipeline, in the project's folder.",
    epilog=examples("relaygen plan", "relaygen bench table"),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
bench = typer.Typer(
    help="Measure how fast the pipeline is.",
    epilog=examples("relaygen bench handoff", "relaygen bench table"),
    no_args_is_help=True,
)
app.add_typer(bench, name="bench")
store = typer.Typer(
    help="Show and trim the store: finished answers, kept by what shaped them.",
    epilog=examples("relaygen store", "relaygen store trim"),
    invoke_without_command=True,
)
app.add_typer(store, name="store")
pair_group = typer.Typer(
    help="Check whether two models can be a pair, and add it to params.yaml.",
    epilog=examples("relaygen pair check demo"),
    no_args_is_help=True,
)
app.add_typer(pair_group, name="pair")
LargeModel = Annotated[
    str | None, typer.Option(help="The large model: a folder, or a name on the hub.")
]
SmallModel = Annotated[
    str | None, typer.Option(help="The small model: a folder, or a name on the hub.")
]
Budget = Annotated[
    int | None, typer.Option(help="Tokens of one answer; default: what the models can read.")
]
LargeSpeed = Annotated[float | None, typer.Option(help="Tokens per second of the large model.")]
SmallSpeed = Annotated[float | None, typer.Option(help="Tokens per second of the small model.")]
HandoffCost = Annotated[float | None, typer.Option(help="Cost of one hand-off in milliseconds.")]
Speeds = Annotated[
    Path | None, typer.Option(help="In place of these three: results/PAIR/probe.json.")
]
FamilyName = Annotated[
    str | None, typer.Option(help="A family of workflow/reference/families/; default: default.")
]


def command(*shown: str, group: typer.Typer = app, **options: Any) -> Decorator:
    """Add a command to `group`; its help shows the examples `shown`.

    A UserError ends in one line and exit code 1.
    """

    def added(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def reported(*given: object, **named: object) -> None:
            command_line.run(check_checkout)
            command_line.run(partial(function, *given, **named))

        return group.command(epilog=examples(*shown), **options)(reported)

    return added


def check_checkout() -> None:
    """Raise UserError in another checkout than that of this code, which would speak for its own."""
    here, ours = Path("stages").resolve(), Path(__file__).parents[1]
    if here.is_dir() and here != ours:
        raise UserError(
            f"this relaygen is that of {ours.parent}; activate the environment of this checkout, "
            "or call `python -m stages.runtime.main`"
        )


def call(module: str, context: typer.Context, *more: object) -> None:
    """Run the `main` of `module` with this command's options and `more`, as `python -m` does."""
    sys.argv = [context.command_path, *as_arguments(context.params), *map(str, more)]
    importlib.import_module(module).main()


def as_arguments(options: dict[str, Any]) -> list[str]:
    """Return `options` as they are typed; those that are None or False are left out."""
    arguments = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(option)
        elif value is not None and value is not False:
            arguments.append(f"{option}={value}")
    return arguments


@command("relaygen check", "relaygen check --params other.yaml")
def check(params: Params = Path("params.yaml")) -> None:
    """Check that params.yaml is valid."""
    from stages.config.checks import without_engines
    from stages.config.params import load

    for line in without_engines(load(params)):
        print(f"{params}: {line}")
    print(f"{params}: valid")


@command("relaygen plan", "relaygen plan --pair qwen3 --commands")
def plan(
    context: typer.Context,
    params: Params = Path("params.yaml"),
    pair: Annotated[
        str | None, typer.Option(help="A pair of params.yaml; default: all pairs of `run`.")
    ] = None,
    commands: Annotated[
        bool, typer.Option("--commands", help="Print the engines' command lines instead.")
    ] = False,
    json: Json = False,
    log: Log = None,
) -> None:
    """Print what a run would do and take.

    Nothing is started. Engines that cannot fit are refused, one line each.
    """
    call("stages.plan", context)


@command("relaygen run")
def run(context: typer.Context) -> None:
    """Run what is out of date, by `dvc repro`; print a line per stage, then what came out.

    What DVC, Snakemake and the stages print goes to logs/run.log. Ctrl-C stops it; finished answers
    are kept.
    """
    call("stages.runtime.run", context)


@command("relaygen status", "relaygen status --json")
def status(params: Params = Path("params.yaml"), json: Json = False) -> None:
    """Say which results are out of date, and why; exit code 1 if any is.

    Compares what each result on disk was made from (params, code, models, reference files and
    inputs, as noted with it) with today's. Results that are not there yet are not named: `snakemake
    -n` lists all that a run would make.
    """
    from json import dumps

    from stages.config.params import load
    from stages.tracking.status import reasons, stale

    found = reasons(stale(load(params)))
    if json:
        print(dumps(found, indent=2))
    else:
        lines = [f"{name}: {'; '.join(whys)}" for name, whys in found.items()]
        print("\n".join(lines or ["all results on disk are up to date"]))
    if found:
        raise typer.Exit(1)


@command(
    "relaygen router default_router.pt", "relaygen router router.pt --out data/router.safetensors"
)
def router(
    file: Annotated[Path, typer.Argument(help="A router of R2R as its authors publish it.")],
    out: Annotated[
        Path | None, typer.Option(help="Default: the same name with .safetensors.")
    ] = None,
) -> None:
    """Convert a published router of R2R, for methods of kind token_route.

    Published routers are pickles, which can hold code. Only weights and settings are read; a file
    with anything else in it is refused.
    """
    from stages.engine.router_convert import convert

    written = out or file.with_suffix(".safetensors")
    convert(file, written)
    print(written)


@command("relaygen recipes")
def recipes(params: Params = Path("params.yaml")) -> None:
    """Write results/recipes: what each result depends on.

    Every run does this first. By hand it is of use before `dvc status`, which reads these files.
    """
    from stages.config.params import load
    from stages.tracking.recipes import write_all

    write_all(load(params))


@command("relaygen record")
def record(params: Params = Path("params.yaml")) -> None:
    """Record with DVC what a Snakemake or Slurm run has made.

    Only results that are up to date are recorded; the others are named, with exit code 1.
    """
    from stages.config.params import load
    from stages.tracking.record import record
    from stages.tracking.status import reasons, stale

    settings = load(params)
    if record(settings):
        for name, whys in reasons(stale(settings)).items():
            print(f"not recorded, out of date: {name}: {'; '.join(whys)}", file=sys.stderr)
        raise typer.Exit(1)


@store.callback()
def list_store(context: typer.Context) -> None:
    """Show what the store holds, by recipe, and whether today's recipes use it."""
    if context.invoked_subcommand is None:
        command_line.run(print_store)


def print_store(params: Path = Path("params.yaml")) -> None:
    """Print a line per recipe in the store."""
    from stages.config.params import load
    from stages.generation.trimming import kept

    for one in kept(load(params)):
        use = "in use" if one.used else "not in use"
        print(f"{one.folder}  {one.answers} kept, {one.bytes / 1e6:.1f} MB, {use}: {one.about}")


@command("relaygen store trim", group=store)
def trim(params: Params = Path("params.yaml")) -> None:
    """Remove what today's recipes do not use, of any pair of params.yaml.

    Answers by mined cues stay while the cues are not here.
    """
    from stages.config.params import load
    from stages.generation.trimming import kept, remove
    from stages.runtime.one_run import claim

    with claim():  # a run may be about to use them
        unused = [one for one in kept(load(params)) if not one.used]
        for one in unused:
            remove(one)
    print(
        f"removed {len(unused)} recipes' answers, {sum(one.bytes for one in unused) / 1e6:.1f} MB"
    )


@command(
    "relaygen replay --traces traces.jsonl --tokenizer demo_pair/large --cues all",
    "relaygen replay --traces traces.jsonl --tokenizer Qwen3-32B/tokenizer.json \\",
    "    --cues qwen3 --large-tps 25 --small-tps 180 --handoff-ms 30",
)
def replay(
    context: typer.Context,
    traces: Annotated[Path, typer.Option(help="Traces or answers (.parquet), or texts (.jsonl).")],
    tokenizer: Annotated[Path, typer.Option(help="A model's folder or its tokenizer.json.")],
    cues: Annotated[
        str,
        typer.Option(
            help="A published set (qwen3, r1), all candidates (all), a cues.csv, or a .yaml file: "
            "a method's cue set or a list of cues."
        ),
    ],
    matching: Annotated[
        Literal["boundary", "substring"] | None,
        typer.Option(
            help="Default: a cue set's own, substring for a published set, else boundary."
        ),
    ] = None,
    min_tokens: Annotated[
        int, typer.Option(help="A cue in this many first tokens of a segment does not count.")
    ] = 5,
    large_tps: LargeSpeed = None,
    small_tps: SmallSpeed = None,
    handoff_ms: HandoffCost = None,
    speeds: Speeds = None,
    json: Json = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the JSON object to this file instead.")
    ] = None,
    log: Log = None,
) -> None:
    """Show where the relay would hand over in traces.

    The traces are texts that a large model wrote alone; no engine is needed. With both speeds and
    the cost of a hand-off, the speedup is predicted too.
    """
    call("stages.replay", context)


@command(
    "relaygen replay-policies --pair demo",
    "relaygen replay-policies --pair demo --policy small_token",
)
def replay_policies(
    context: typer.Context,
    pair: Annotated[str, typer.Option(help="A pair of params.yaml.")],
    policy: Annotated[
        str | None,
        typer.Option(help="A line of tune.policies or methods; default: all of tune.policies."),
    ] = None,
    params: Params = Path("params.yaml"),
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; default: results/PAIR/replay.")
    ] = None,
    log: Log = None,
) -> None:
    """Show what policies would do on a pair's traces, for a grid of thresholds.

    It reads the margins of the calibration set; no engine is needed. What the small model would
    write instead of the large one is not known: `relaygen tune` asks it.
    """
    call("stages.replay_policies", context)


@command(
    "relaygen pair check demo",
    "relaygen pair check demo --probe",
    "relaygen pair check --large models/my-large --small models/my-small --budget 6000",
    group=pair_group,
    name="check",
)
def check_pair(
    name: Annotated[str | None, typer.Argument(metavar="PAIR", help="Of params.yaml.")] = None,
    large: LargeModel = None,
    small: SmallModel = None,
    family: FamilyName = None,
    budget: Budget = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Start the engines of PAIR and measure speeds, in minutes."),
    ] = False,
    params: Params = Path("params.yaml"),
) -> None:
    """Check whether two models can be a pair, before anything costly; exit code 1 if not.

    Give a pair of params.yaml, or two model folders or names on the hub. --probe writes
    results/PAIR/probe.json, which `relaygen plan` takes, and `relaygen replay --speeds`.
    """
    from stages.config.params import load
    from stages.problems.pair_fit import findings
    from stages.problems.pair_new import from_models

    if probe and not name:
        raise UserError("--probe goes with a pair of params.yaml: `relaygen pair new` adds one")
    pair = load(params).pair(name) if name else from_models(large, small, family, budget)
    found = findings(pair)
    print("\n".join(map(str, found)))
    if any(one.verdict == "wrong" for one in found):
        raise typer.Exit(1)
    if probe and name:
        from stages.perf.probe import write

        for line in write(load(params), name):
            print(line, flush=True)


@command(
    "relaygen pair new mine --large models/my-large --small models/my-small",
    "relaygen pair new mine --large Qwen/Qwen3-32B --small Qwen/Qwen3-1.7B --gpus 2 \\",
    "    --benchmark aime25 --benchmark data/example.jsonl",
    group=pair_group,
)
def new(
    name: Annotated[str, typer.Argument(metavar="PAIR", help="The name of the new pair.")],
    large: LargeModel,
    small: SmallModel,
    family: FamilyName = None,
    budget: Budget = None,
    gpus: Annotated[
        int, typer.Option(help="GPUs of the large model, the small one takes 1; 0: the CPU.")
    ] = 0,
    calibration: Annotated[
        str, typer.Option(help="Problems to mine cues on: of the catalogue, or a file.")
    ] = "amc23",
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Problems to answer: of the catalogue, or a file.")
    ] = None,
    params: Params = Path("params.yaml"),
) -> None:
    """Write a pair of two models into params.yaml, with what their files say.

    The rest of the file stays as it is. Nothing is written if the models cannot be a pair.
    """
    from stages.problems.pair_new import BENCHMARK, add, engine, found_out

    engines = {"large": engine(str(large), gpus), "small": engine(str(small), min(gpus, 1))}
    given = {"engines": engines, "family": family, "budget": budget}
    block = found_out(given, calibration, benchmark or [BENCHMARK])
    add(params, name, block)
    print(f"{params}: pair '{name}' added; to run it: `run: [{name}]`, then `relaygen plan`")


@command(
    "relaygen provenance results/tables/accuracy.csv",
    "relaygen provenance results/demo/scores.parquet",
)
def provenance(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A table, a figure, a Parquet file or the report."),
    ],
) -> None:
    """Print where a result came from.

    Commit, models, engine, settings, seeds, container, hardware and times, of the file and of all
    files that it was made from.
    """
    from stages.tracking.provenance import in_words, of_file

    print(in_words(str(file), of_file(file)), end="")


@command(
    "relaygen serve --pair demo",
    "relaygen serve --pair demo --methods relaygen,relaygen_eagle3,large --port 8080",
    "relaygen serve --pair qwen3 --large-url http://node1:8001 --small-url http://node2:8001",
)
def serve(
    context: typer.Context,
    pair: Annotated[str, typer.Option(help="A pair of params.yaml.")],
    params: Params = Path("params.yaml"),
    methods: Annotated[
        str | None,
        typer.Option(
            help="Names under `methods:`, with commas between; default: those that need the large "
            "and the small model alone and route no tokens."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0: any free one.")] = 8000,
    key_file: Annotated[
        Path | None,
        typer.Option(help="A file with the key; default: RELAYGEN_API_KEY, or a new one."),
    ] = None,
    max_waiting: Annotated[
        int, typer.Option(help="Answers that may wait for their turn; more are refused.")
    ] = 64,
    large_url: Annotated[
        str | None,
        typer.Option(
            help="A vLLM server of the large model that runs already; key: $RELAYGEN_LARGE_KEY."
        ),
    ] = None,
    small_url: Annotated[
        str | None,
        typer.Option(help="The same of the small model; key: $RELAYGEN_SMALL_KEY."),
    ] = None,
    log: Log = None,
) -> None:
    """Serve a pair's methods as the models of an OpenAI-style API, with a page to watch them.

    Engines are started, and started again if they fail. Ctrl-C ends all of it.
    """
    call("stages.serving.main", context)


@command(
    "relaygen mine --traces traces.jsonl --small demo_pair/small",
    "relaygen mine --traces traces.jsonl --small Qwen/Qwen3-1.7B --gpus 1 \\",
    "    --large-tps 32 --small-tps 170 --handoff-ms 30",
)
def mine(
    context: typer.Context,
    traces: Annotated[Path, typer.Option(help="What a large model wrote: .jsonl or .parquet.")],
    small: Annotated[str, typer.Option(help="The small model: a folder, or a name on the hub.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("mined"),
    candidates: Annotated[
        Literal["published", "auto"],
        typer.Option(help="Words that may become cues; auto: what opens sentences in the traces."),
    ] = "published",
    family: FamilyName = None,
    gpus: Annotated[int, typer.Option(help="GPUs of the small model; 0: the CPU.")] = 0,
    min_segments: Annotated[
        int | None, typer.Option(help="Segments that a cue needs; default: cues.min_segments.")
    ] = None,
    large_tps: LargeSpeed = None,
    small_tps: SmallSpeed = None,
    handoff_ms: HandoffCost = None,
    speeds: Speeds = None,
    params: Params = Path("params.yaml"),
    log: Log = None,
) -> None:
    """Find cues in traces that are there already, and what a relay would do with them.

    The small model reads the traces; no large model is needed. Traces are JSONL (`text`, and
    `problem` or `messages`), this pipeline's Parquet, or outputs of lighteval,
    lm-evaluation-harness and NeMo-Skills.
    """
    call("stages.mine", context)


@command(
    "relaygen tune --pair demo",
    "relaygen tune --pair demo --policy small_token --by mixture",
    "relaygen tune --pair demo --policy small_token --by 0.1",
)
def tune(
    context: typer.Context,
    pair: Annotated[str, typer.Option(help="A pair of params.yaml.")],
    policy: Annotated[str | None, typer.Option(help="With --by: a line of tune.policies.")] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Choose without answers: mixture (two Gaussians of the margins), or a quantile."
        ),
    ] = None,
    params: Params = Path("params.yaml"),
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; default: results/PAIR/tune.")
    ] = None,
    log: Log = None,
) -> None:
    """Choose a policy for a pair, with its thresholds, on the calibration set alone.

    The policies of the block `tune` in params.yaml answer the calibration set in rounds, the better
    half twice as many problems. Margins and cues of the pair must be there (`make tune`).
    """
    call("stages.tune", context)


@command(
    'relaygen ask "What is 12 + 30?"',
    'relaygen ask "What is 12 + 30?" --method large --url http://127.0.0.1:8080',
)
def ask(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="What to ask.")],
    method: Annotated[str, typer.Option(help="A method that the server has.")] = "relaygen",
    url: Annotated[str, typer.Option(help="Of the server.")] = "http://127.0.0.1:8000",
) -> None:
    """Ask a server that `relaygen serve` started; print the answer as it comes.

    On a terminal, what the large model writes is blue, what the small one writes is yellow. The key
    is RELAYGEN_API_KEY.
    """
    call("stages.serving.ask", context)


@command(
    "relaygen show relaygen chains_long 3",
    "relaygen show large aime25 7 --pair qwen3 --repeat 2",
)
def show(
    context: typer.Context,
    method: Annotated[str, typer.Argument(help="A method.")],
    benchmark: Annotated[str, typer.Argument(help="A problem set.")],
    problem: Annotated[int, typer.Argument(metavar="ID", help="A problem_id.")],
    pair: Annotated[str | None, typer.Option(help="Default: the first pair of `run`.")] = None,
    repeat: Annotated[int, typer.Option(help="Which of the answers to the problem.")] = 0,
    params: Params = Path("params.yaml"),
) -> None:
    """Show one answer: who wrote what, the cues, the time of each segment, and the verdict.

    On a terminal, what the large model writes is blue, what the small one writes is yellow.
    """
    call("stages.view.show", context)


def add_performance_test(name: str, about: str) -> None:
    """Add the command that runs one performance test."""

    @command(
        f"relaygen bench {name}",
        f"relaygen bench {name} --out {name}.json",
        group=bench,
        name=name,
        help=about,
    )
    def measure(
        context: typer.Context,
        out: Annotated[Path, typer.Option(help="File of the result.")] = BENCH / f"{name}.json",
        log: Log = None,
    ) -> None:
        call(f"stages.perf.{name}", context)


for name, about in perf.TESTS.items():
    add_performance_test(name, about)


@command("relaygen bench table", "relaygen bench table --readme docs/performance.md", group=bench)
def table(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="File of the table.")] = BENCH / "table.md",
    readme: Annotated[
        Path | None, typer.Option(help="Also put the table between the marks of this page.")
    ] = None,
) -> None:
    """Print one table of all results in results/bench."""
    results = [path for name in perf.TESTS if (path := BENCH / f"{name}.json").exists()]
    if not results:
        raise UserError(f"{BENCH}: no results in it; run a test first: relaygen bench --help")
    call("stages.perf.table", context, "--results", *results)
    print(out.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    app(prog_name="relaygen")
