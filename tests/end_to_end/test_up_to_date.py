"""An edit puts exactly that out of date which depends on what was edited, at both entrances.

In a finished run, every module, reference file, model file, rule and param is edited in turn, and
each entrance is asked. What is expected of modules is worked out from what the stages' modules
import when they are run; of files and params, it is written down here.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.end_to_end import entrances
from tests.end_to_end.conftest import Resumed

pytestmark = pytest.mark.end_to_end

# Jobs are called `stage`, or `stage name` where there is one for each problem set or method.
CALIBRATION, BENCHMARKS = "chains_calibration", ("chains_short", "chains_long", "chains_choice")
METHODS = ("small", "large", "relaygen", "relaygen_eagle3")
KINDS = {
    "small": "single", "large": "single", "relaygen": "relay", "relaygen_eagle3": "relay",
    "all_candidates": "relay",
}  # fmt: skip
MINED = ("relaygen", "relaygen_eagle3")
ROLES = {
    "small": {"small"}, "large": {"large"}, "relaygen": {"large", "small"},
    "relaygen_eagle3": {"eagle3", "small"}, "all_candidates": {"large", "small"},
}  # fmt: skip
PREPARED = [f"prepare {name}" for name in (CALIBRATION, *BENCHMARKS)]
ANSWERS = [f"answers {method}" for method in KINDS]
COMPARED = [f"answers {method}" for method in METHODS]
CUE_SETS = [f"cue_set {method}" for method in KINDS]
# {job: those whose results it reads}
AFTER: dict[str, list[str]] = {
    "tokenizer": [],
    **{job: ["tokenizer"] for job in PREPARED},
    "traces": [f"prepare {CALIBRATION}"],
    "margins": ["traces"],
    "cues": ["margins"],
    **{f"cue_set {method}": ["cues"] if method in MINED else [] for method in KINDS},
    **{f"answers {one}": [*PREPARED[1:], f"cue_set {one}"] for one in METHODS},
    "answers all_candidates": ["prepare chains_long", "cue_set all_candidates"],
    "score": [*PREPARED[1:], *COMPARED],
    "summary": [*PREPARED[1:], *COMPARED, "score"],
    "ablation": ["prepare chains_long", "answers relaygen", "answers all_candidates"],
    "latency": ["prepare chains_short", *(f"cue_set {method}" for method in METHODS)],
    "speed": ["latency"],
    "throughput": ["prepare chains_short", *(f"cue_set {method}" for method in METHODS)],
    "load": ["throughput"],
    "answer_stage": [*PREPARED[1:], "answers large"],
    "replay": ["tokenizer", "traces", "cue_set relaygen"],
    "tables": ["summary", "ablation", "speed", "load", "answer_stage"],
    "figures": ["tables", "cues", "margins", "latency"],
    "excerpts": ["tokenizer", *PREPARED[1:], "cues", *COMPARED, "score"],
    "report": ["tables", "figures", "load", "excerpts"],
}
# Who starts engines, for which of the pair's roles; who asks by methods, of which kinds.
ENGINES = {
    "traces": {"large"}, "margins": {"small"}, "answer_stage": {"small"},
    "latency": {"large", "eagle3", "small"}, "throughput": {"large", "eagle3", "small"},
    **{f"answers {method}": roles for method, roles in ROLES.items()},
}  # fmt: skip
ASKED = {
    "traces": {"single"}, "answer_stage": {"single"}, "latency": {"single", "relay"},
    "throughput": {"single", "relay"},
    **{f"answers {method}": {kind} for method, kind in KINDS.items()},
}  # fmt: skip


def following(jobs: set[str]) -> set[str]:
    """Jobs and all that are done after them."""
    found = set(jobs)
    while more := {job for job, before in AFTER.items() if found & set(before)} - found:
        found |= more
    return found


def in_dvc(job: str) -> str:
    """The stage of dvc.yaml that a job is a part of."""
    stage, _, name = job.partition(" ")
    if stage == "answers":
        return f"infer@demo-{name}" if name in METHODS else f"ablation_infer@demo-{name}"
    if stage in ("tables", "report"):
        return stage
    return f"{'prepare' if stage == 'tokenizer' else stage}@demo"


def as_job(command: str) -> str:
    """A job by its stage: one asks for answers, another puts them together."""
    return re.sub("^(infer|merge) ", "answers ", command)


Change = Callable[[str], str]


@dataclass(frozen=True)
class Edit:
    """Another content for files of a checkout, and the jobs that it puts out of date.

    `expected`: None for a module, whose jobs are worked out from imports.
    """

    change: Change
    files: tuple[str, ...]
    expected: frozenset[str] | None


def edit(change: Change, *files: str, of: Iterable[str] = ()) -> Edit:
    """An edit that puts the jobs `of` out of date."""
    return Edit(change, files, frozenset(of))


def appended(text: str) -> Change:
    """More at the end."""
    return lambda content: content + text


def replaced(pattern: str, new: str) -> Change:
    """Another text for every match."""
    return lambda content: re.sub(pattern, new, content, flags=re.MULTILINE)


def param(path: str, value: Any) -> Change:
    """Another value of a param, by its dotted path."""
    *parents, last = path.split(".")

    def change(content: str) -> str:
        params = yaml.safe_load(content)
        block = params
        for key in parents:
            block = block[key]
        block[last] = value
        return yaml.safe_dump(params, sort_keys=False)

    return change


def all_of(*changes: Change) -> Change:
    """One change after the other."""
    return lambda content: reduce(lambda text, change: change(text), changes, content)


def with_engines(*roles: str) -> set[str]:
    """The jobs that start one of these engines."""
    return {job for job, its in ENGINES.items() if its & set(roles)}


def tracked(pattern: str) -> list[str]:
    """Files of the project by their path."""
    return sorted(str(file.relative_to(ROOT)) for file in ROOT.glob(pattern))


MODULES = [*tracked("stages/**/*.py"), *tracked("demo_pair/**/*.py")]
DOCUMENTED = [file for file in MODULES if (ROOT / file).read_text().startswith('"""')]
RULES = tracked("workflow/rules/*.smk")
FAMILY, USUAL = (f"workflow/reference/families/{name}.yaml" for name in ("demo", "default"))
CUES = "workflow/reference/cues.yaml"
MATH = [job for job in PREPARED if job != "prepare chains_choice"]
RELAYS = [f"answers {method}" for method, kind in KINDS.items() if kind == "relay"]
WRITING = set(ENGINES) - {"margins"}
TIMED = ("latency", "throughput")
# What is fed to engines, and read from them, by the pair's tokenizer.
TOKENS = {*PREPARED, "tokenizer", *ENGINES}

REFERENCE = {
    "a candidate more": edit(
        replaced(r"^candidates: \[", 'candidates: ["Finally", '), CUES,
        of=["cues", "cue_set all_candidates"],
    ),
    "a published cue more": edit(replaced(r"^  r1: \[", '  r1: ["Finally", '), CUES),
    "words for math": edit(
        replaced(r"^(  plain:\n    math: .*)step by step", r"\1in steps"), FAMILY, of=MATH
    ),
    "words for a choice": edit(
        replaced("the letter of the right option", "its letter"), FAMILY,
        of=["prepare chains_choice"],
    ),
    "words of another family": edit(replaced(r"put only the", "give the"), USUAL),
    "another end of the reasoning": edit(
        appended("think_end: </reasoning>\n"), FAMILY, of=[*PREPARED, *WRITING, "replay"]
    ),
    "another end of a sentence": edit(
        appended("sentence_ends: ['.']\n"), FAMILY, of=[*WRITING, "replay"]
    ),
    "another end of a segment": edit(
        appended("segment_ends: ['.']\n"), FAMILY, of=["cues", "figures"]
    ),
    "other candidates": edit(
        appended("candidates: [So, Thus]\n"), FAMILY, of=["cues", "cue_set all_candidates"]
    ),
    "an argument of the chat template": edit(
        appended("template_args: {effort: high}\n"), FAMILY, of=PREPARED
    ),
    "another start of the reasoning": edit(
        appended("think_start: <reason>\n"), FAMILY, of=PREPARED
    ),
    "a value of the paper": edit(
        replaced("small: 88.60", "small: 88.61"),
        "workflow/reference/paper.yaml",
        of=["tables", "report"],
    ),
    "an assumption of the plan": edit(appended("\nmore: 1\n"), "workflow/reference/plan.yaml"),
    "the view of an answer": edit(appended("\n// more\n"), "stages/view/answer.js", of=["report"]),
    "the report's page": edit(appended("<p>more</p>\n"), "workflow/report.html.j2", of=["report"]),
}  # fmt: skip

LARGE, SMALL, DRAFT = "demo_pair/large", "demo_pair/small", "demo_pair/eagle3"
# Whether the models fit together is checked by all of their files but the weights.
MODELS = {
    f"{LARGE}/model.safetensors": with_engines("large", "eagle3"),
    f"{LARGE}/config.json": {"tokenizer", *with_engines("large", "eagle3")},
    f"{LARGE}/generation_config.json": {"tokenizer", *with_engines("large", "eagle3")},
    f"{LARGE}/tokenizer.json": TOKENS,
    f"{LARGE}/tokenizer_config.json": TOKENS,
    f"{LARGE}/chat_template.jinja": TOKENS,
    f"{SMALL}/model.safetensors": with_engines("small"),
    **{
        f"{SMALL}/{file}": {"tokenizer", *with_engines("small")}
        for file in (
            "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
            "chat_template.jinja",
        )
    },
    f"{DRAFT}/model.safetensors": with_engines("eagle3"),
    f"{DRAFT}/config.json": {"tokenizer", *with_engines("eagle3")},
}  # fmt: skip

PAIR = "pairs.demo"
PARAMS: dict[str, tuple[Any, Iterable[str]]] = {
    "seed": (
        1, {*PREPARED, *WRITING, "cues", "summary", "ablation", "speed"},
    ),
    f"{PAIR}.dtype": ("bfloat16", ENGINES),
    "engines.env": ({"VLLM_LOGGING_LEVEL": "DEBUG"}, ENGINES),
    f"{PAIR}.max_model_len": (2000, {"tokenizer", *PREPARED, *ENGINES}),
    f"{PAIR}.sampling.temperature": (0.7, WRITING),
    f"{PAIR}.sampling.top_p": (0.9, WRITING),
    f"{PAIR}.sampling.top_k": (10, WRITING),
    f"{PAIR}.sampling.min_p": (0.1, WRITING),
    f"{PAIR}.budget": (1000, {*PREPARED, *WRITING, "figures"}),
    f"{PAIR}.repeats": (2, {"traces", *ANSWERS, "score", "ablation"}),
    f"{PAIR}.cue_matching": (
        "substring", {"cues", "figures", *TIMED, *RELAYS, *(f"cue_set {m}" for m in KINDS
                                                            if KINDS[m] == "relay")},
    ),
    f"{PAIR}.as_released.prompt": (True, MATH),
    f"{PAIR}.as_released.options": (True, ["prepare chains_choice"]),
    f"{PAIR}.as_released.margins": (True, ["cues"]),
    f"{PAIR}.as_released.handoff": (True, [*TIMED, *RELAYS]),
    f"{PAIR}.calibration.{CALIBRATION}.n_problems": (5, [f"prepare {CALIBRATION}"]),
    f"{PAIR}.benchmarks.chains_short.n_problems": (3, ["prepare chains_short"]),
    f"{PAIR}.speed_benchmark": ("chains_choice", [*TIMED, "load", "figures", "excerpts"]),
    f"{PAIR}.ablation_benchmark": ("chains_choice", ["ablation", "answers all_candidates"]),
    f"{PAIR}.benchmarks.chains_short.prompt": ("{problem} Now.", ["prepare chains_short"]),
    f"{PAIR}.min_segments": (3, ["cues", "figures", "excerpts"]),
    f"{PAIR}.engines.small": (
        {"model": SMALL, "args": {"block-size": 16}}, with_engines("small"),
    ),
    f"{PAIR}.engines.eagle3.speculation.tokens": (2, with_engines("eagle3")),
    "cues.min_segments": (2, ["cues", "figures", "excerpts"]),
    "cues.min_delta": (0.01, ["cues"]),
    "cues.bootstrap": (10, ["cues"]),
    "relay.min_tokens": (6, [*TIMED, "replay", *RELAYS]),
    "relay.answer_engine": ("large", [*TIMED, *RELAYS]),
    "relay.handoff": ("text", [*TIMED, *RELAYS]),
    "ablation.methods.all_candidates.cue_matching": (
        "substring", ["cue_set all_candidates", "answers all_candidates"],
    ),
    "latency.runs": (2, ["latency"]),
    "throughput.in_flight": ([1, 2], ["throughput"]),
    "throughput.n_problems": (1, ["throughput"]),
    "methods.relaygen.answer_engine": ("large", [*TIMED, "answers relaygen"]),
    "tables.bootstrap": (10, ["summary", "ablation", "speed"]),
}  # fmt: skip
HOW_IT_RUNS = {
    "engines.cpu_threads": 2, "engines.kv_cache_gib": 2, "engines.gpu_memory": 0.5,
    "engines.start_timeout_s": 100, "engines.base_port": 40000, "infer.concurrency": 2,
    "infer.request_timeout_s": 100, "infer.retries": 1, "tune.max_loss": 3.0,
}  # fmt: skip


def edits_of_rules() -> Iterator[tuple[str, Edit]]:
    """Another command for each rule that has one."""
    for file in RULES:
        for rule in re.findall(r"^rule (\w+):", (ROOT / file).read_text(), re.MULTILINE):
            stage = {"infer": "answers", "merge": "answers"}.get(rule, rule)
            command = rf'^(rule {rule}:\n(?:    .*\n|\n)*?        ")python -m'
            if re.search(command, (ROOT / file).read_text(), re.MULTILINE):
                jobs = [job for job in AFTER if job.split(" ")[0] == stage]
                yield f"rule {rule}", edit(replaced(command, r"\1true; python -m"), file, of=jobs)


EDITS: dict[str, Edit] = {
    **{file: Edit(appended("\nX = 1\n"), (file,), None) for file in MODULES},
    **REFERENCE,
    **{file: edit(appended(" "), file, of=jobs) for file, jobs in MODELS.items()},
    **{
        f"params.yaml, {name}": edit(param(name, value), "params.yaml", of=jobs)
        for name, (value, jobs) in PARAMS.items()
    },
    **dict(edits_of_rules()),
    # What shapes no result, many at a time.
    "comments": edit(
        appended("\n# a comment\n"), *MODULES, *RULES, FAMILY, USUAL, CUES, "params.yaml"
    ),
    "docstrings": edit(replaced(r'\A"""', '"""Changed: '), *DOCUMENTED),
    "how a run goes": edit(
        all_of(*(param(name, value) for name, value in HOW_IT_RUNS.items())), "params.yaml"
    ),
    "resources of rules": edit(
        replaced(r"(mem_mb|runtime)=", r"\1=1"),
        "workflow/rules/calibrate.smk", "workflow/rules/relay.smk", "workflow/rules/paper.smk",
    ),
    "pages": edit(appended("More.\n"), "README.md", "demo_pair/README.md"),
}  # fmt: skip
TOGETHER = "together@demo"  # a stage of dvc.yaml alone, without results of its own
PUTTING_TOGETHER = ("stages/merge.py", "rule merge")  # edits after which nothing is asked for


# Changes after which the plan is asked, too.
PLANNED = (
    "params.yaml, seed", "params.yaml, cues.min_delta", "params.yaml, cues.min_segments",
    f"params.yaml, {PAIR}.budget", f"params.yaml, {PAIR}.repeats",
    f"params.yaml, {PAIR}.benchmarks.chains_short.n_problems", "params.yaml, latency.runs",
    "params.yaml, methods.relaygen.answer_engine", "params.yaml, tables.bootstrap",
    "stages/analysis/plots.py", f"{SMALL}/model.safetensors", "a value of the paper",
)  # fmt: skip


@contextmanager
def made(edit: Edit, folder: Path) -> Iterator[None]:
    """Edit files of a checkout, for a while."""
    with ExitStack() as stack:
        for name in edit.files:
            file = folder / name
            before, times = file.read_bytes(), file.stat()
            stack.callback(os.utime, file, ns=(times.st_atime_ns, times.st_mtime_ns))
            stack.callback(file.write_bytes, before)
            after = edit.change(before.decode("latin-1")).encode("latin-1")
            assert after != before, f"{name} stays as it is"
            file.write_bytes(after)
        yield


@dataclass(frozen=True)
class Found:
    """What is out of date after an edit: DVC's stages, `relaygen status`' jobs, and Snakemake's.

    Snakemake's include those that follow.
    """

    dvc: set[str]
    status: set[str]
    snakemake: set[str]


@pytest.fixture(scope="module")
def found(repro: Path, resumed: Resumed) -> dict[str, Found]:
    """What each entrance finds after each edit, in a checkout that it has finished."""

    def after(folder: Path, ask: Callable[[Path], Any]) -> dict[str, Any]:
        answers = {}
        for name, one in EDITS.items():
            with made(one, folder):
                answers[name] = ask(folder)
        return answers

    with ThreadPoolExecutor() as pool:
        of_dvc = pool.submit(after, repro, entrances.dvc_status)
        others = pool.submit(after, resumed.folder, entrances.to_make)
        dvc, rest = of_dvc.result(), others.result()
    return {
        name: Found(dvc[name], *(set(map(as_job, jobs)) for jobs in rest[name])) for name in EDITS
    }


@pytest.fixture(scope="module")
def closures(repro: Path) -> dict[str, set[str]]:
    """{job: the modules that shape its result}: its stages' imports, and what they run by name."""
    stages = {job: ["infer", "merge"] if job in ANSWERS else [job.split(" ")[0]] for job in AFTER}

    @cache
    def imports(module: str) -> set[str]:
        return entrances.imported(repro, module)

    return {
        job: set().union(
            *(imports(f"stages.{stage}") for stage in stages[job]),
            *(imports(f"stages.methods.{kind}") for kind in ASKED.get(job, ())),
            imports("stages.engine.serve") if job in ENGINES else (),
        )
        for job in AFTER
    }


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_puts_out_of_date_what_depends_on_it_and_nothing_else(
    name: str, found: dict[str, Found], closures: dict[str, set[str]]
) -> None:
    expected = EDITS[name].expected
    if expected is None:
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        expected = frozenset(job for job, modules in closures.items() if module in modules)
    assert found[name].status == expected
    assert found[name].dvc - {TOGETHER} == {in_dvc(job) for job in expected}
    assert found[name].snakemake == following(set(expected))


@pytest.mark.parametrize("name", EDITS)
def test_methods_are_asked_together_after_an_edit_to_what_they_answer(
    name: str, found: dict[str, Found]
) -> None:
    asked = not found[name].status.isdisjoint(ANSWERS) and name not in PUTTING_TOGETHER
    assert (TOGETHER in found[name].dvc) == asked


@pytest.mark.parametrize("name", PLANNED)
def test_the_plan_takes_the_same_stages_for_due_as_both_entrances(
    name: str, found: dict[str, Found], resumed: Resumed
) -> None:
    with made(EDITS[name], resumed.folder):
        planned = entrances.planned(resumed.folder)
    assert planned - {TOGETHER} == set(map(in_dvc, found[name].snakemake))
    assert planned >= found[name].dvc


def test_the_plan_of_a_finished_run_has_nothing_due(resumed: Resumed) -> None:
    assert entrances.planned(resumed.folder) == set()
