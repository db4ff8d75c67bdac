"""The documentation against the code: names, columns, keys and examples."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
import yaml

from stages import ablation, methods
from stages.analysis import (
    accuracy,
    answer_stage,
    cue_effects,
    differences,
    front,
    grading,
    paper_tables,
    replay,
)
from stages.analysis import load as under_load
from stages.analysis import speedup as speed
from stages.config.block import Block
from stages.config.params import load
from stages.config.schema import Pair, Params
from stages.config.settings import Settings
from stages.generation import answers, latency, margins, throughput, traces
from stages.methods.base import Answer, Completion, Machine, Segment, Setting
from stages.problems import prompts
from stages.tracking.resolving import settings_of
from stages.tracking.targets import STAGES, Target

pytestmark = pytest.mark.unit

DOCS = Path("docs")
ARCHITECTURE = (DOCS / "architecture.md").read_text()
OUTPUTS = (DOCS / "outputs.md").read_text()
README = Path("README.md").read_text()
OURS = (
    "stages", "workflow", "tests", "docs", "data", "demo_pair", "containers", "params.yaml",
    "dvc.yaml", "Snakefile", "pyproject.toml",
)  # fmt: skip
PLACEHOLDER = re.compile("NAME|PAIR|METHOD|SET")
Columns = Mapping[str, str]


def code_spans(page: str) -> set[str]:
    """Return what stands in single backticks, outside blocks of code."""
    without_blocks = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", without_blocks))


def blocks(page: str, language: str) -> list[str]:
    """Return a page's blocks of code in a language."""
    return re.findall(rf"```{language}[^\n]*\n(.*?)```", page, re.DOTALL)


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings."""
    return {title.lower().replace(" ", "-") for title in re.findall("(?m)^#+ (.+)$", page)}


# README.


def test_the_readme_has_at_most_180_lines() -> None:
    assert len(README.splitlines()) <= 180


def test_the_readmes_links_lead_to_files_and_headings() -> None:
    links = re.findall(r"\]\((?!https:)([^)#]+)#?([^)]*)\)", README)
    assert ("docs/benchmarks.md", "your-own-pair") in links
    for file, anchor in links:
        assert Path(file).is_file(), file
        assert not anchor or anchor in anchors(Path(file).read_text()), anchor


def test_the_readmes_benchmark_is_the_one_that_its_page_explains() -> None:
    (line,) = blocks(README, "yaml")
    assert line in blocks((DOCS / "benchmarks.md").read_text(), "yaml")


# Architecture: names that exist.


@pytest.mark.parametrize(
    "path",
    sorted(
        span
        for span in code_spans(ARCHITECTURE)
        if (span.split("/")[0] in OURS) and not PLACEHOLDER.search(span)
    ),
)
def test_a_file_that_the_architecture_page_names_exists(path: str) -> None:
    assert Path(path).exists()


@pytest.mark.parametrize(
    "name",
    sorted(
        span
        for span in code_spans(ARCHITECTURE)
        if re.fullmatch(r"stages(\.\w+)+", span) and not PLACEHOLDER.search(span)
    ),
)
def test_a_function_that_the_architecture_page_names_exists(name: str) -> None:
    resolve_name(name)


def test_every_folder_of_the_code_is_explained() -> None:
    folders = {f"{init.parent}/" for init in Path("stages").glob("*/__init__.py")}
    assert folders <= code_spans(ARCHITECTURE)


def test_every_stage_has_its_row() -> None:
    rows = re.findall(r"^\| (\w+) \|", ARCHITECTURE, re.MULTILINE)
    assert set(STAGES) <= set(rows)


# Architecture: the example of a new method.


@cache
def opening() -> ModuleType:
    """Return the example's module."""
    (code,) = blocks(ARCHITECTURE, "python")
    module = ModuleType("example")
    exec(compile(code, "docs/architecture.md", "exec"), module.__dict__)
    return module


def method_lines() -> Iterator[dict[str, Any]]:
    """Yield the settings of the page's methods."""
    for block in blocks(ARCHITECTURE, "yaml"):
        yield from yaml.safe_load(block)["methods"].values()


def started(budget: int = 100) -> Machine:
    """Return the example's machine; 9 is the token of </think>."""
    (line,) = (line for line in method_lines() if line["kind"] == "opening")
    method = opening().Method(**line | {"opening_tokens": 2})
    setting = Setting(
        [1],
        budget,
        decode=lambda ids: "".join("</think>" if i == 9 else str(i) for i in ids),
        encode=lambda text: [9],
    )
    machine = method.start(setting)
    assert isinstance(machine, Machine)
    return machine


def test_the_examples_line_of_a_known_kind_is_valid() -> None:
    known = [methods.of_kind(line) for line in method_lines() if line["kind"] != "opening"]
    assert [method.kind for method in known] == ["relay"]


def test_the_example_hands_over_after_the_opening_and_finds_the_answer() -> None:
    machine = started()
    request = machine.next_request()
    assert request
    assert (request.engine, request.prompt_ids, request.max_tokens) == ("large", [1], 2)
    machine.feed(Completion([5, 6], "", "length"), wall_s=1.0)
    request = machine.next_request()
    assert request
    assert (request.engine, request.prompt_ids, request.max_tokens) == ("small", [1, 5, 6], 98)
    machine.feed(Completion([7, 9, 8], "", "stop"), wall_s=3.0)
    assert machine.next_request() is None
    assert machine.answer == Answer(
        token_ids=[5, 6, 7, 9, 8],
        segments=[
            Segment("large", "reasoning", 2, None, 1.0),
            Segment("small", "reasoning", 2, None, 2.0),
            Segment("small", "answer", 1, None, 1.0),
        ],
        finish_reason="stop",
        answer_start=4,
    )


def test_the_example_ends_with_the_budget_or_with_the_large_model() -> None:
    machine = started(budget=2)
    machine.feed(Completion([5, 6], "", "length"), wall_s=1.0)
    assert machine.answer.finish_reason == "length"
    machine = started()
    machine.feed(Completion([9, 6], "", "stop"), wall_s=1.0)
    assert (machine.answer.finish_reason, machine.answer.answer_start) == ("stop", 1)


# Configuration.


def kinds(block: type[Block] = Block) -> Iterator[type[Block]]:
    """Yield the blocks of params.yaml and the kinds of methods."""
    for kind in block.__subclasses__():
        if kind.__module__.startswith(
            ("stages.config.schema", "stages.config.families", "stages.methods.")
        ):
            yield kind
        yield from kinds(kind)


def test_every_key_of_params_is_explained() -> None:
    text = "".join((DOCS / f"{page}.md").read_text() for page in ("configuration", "policies"))
    sections = set(re.findall(r"^## (\w+)", text, re.MULTILINE)) | {"methods", "ablation"}
    keys = {key for kind in kinds() for key in kind.model_fields}
    assert keys <= code_spans(text) | sections


def test_the_example_of_a_pair_is_valid() -> None:
    pairs = [
        yaml.safe_load(block)
        for block in blocks((DOCS / "benchmarks.md").read_text(), "yaml")
        if "engines:" in block
    ]
    (pair,) = pairs
    (settings,) = pair.values()
    checked = Pair.model_validate(settings)
    benchmark = checked.benchmarks[checked.speed_benchmark]
    assert benchmark.n_problems
    assert benchmark.n_problems >= params().latency.n_problems


# Outputs: columns and their types.


@cache
def params() -> Params:
    """Return the project's own."""
    return load(Path("params.yaml"))


def type_name(dtype: Any) -> str:
    """Return how the page calls a type."""
    if isinstance(dtype, pl.List):
        return f"list of {type_name(dtype.inner)}"
    if isinstance(dtype, pl.Struct):
        return "struct"
    return {"Boolean": "bool"}.get(str(dtype), str(dtype).lower())


def types(schema: Mapping[str, Any]) -> Columns:
    """Return {column: type} in the page's words."""
    return {name: type_name(dtype) for name, dtype in schema.items()}


def documented() -> dict[str, Columns]:
    """Return {file: {column: type}} of the page's tables."""
    parts = re.split(r"^#{2,3} (.+)$", OUTPUTS, flags=re.MULTILINE)[1:]
    row = re.compile(r"^\| `(\w+)` \| ([^|]+?) \|", re.MULTILINE)
    sections = zip(parts[::2], parts[1::2], strict=True)
    return {
        title.strip("`"): dict(row.findall(text)) for title, text in sections if title[0] == "`"
    }


def timed_answers() -> pl.DataFrame:
    """Return latency.parquet of two problems by two methods."""
    rows = [
        {
            "method": method, "problem_id": problem, "repeat": 0, "token_ids": [1],
            "large_tokens": 1, "small_tokens": int(method != "large"), "wall_s": 1.0,
            "n_switches": int(method != "large"), "prompt_tokens": 1, "cached_tokens": 0,
            "drafts": 1, "accepted": 1, "other_load": 0.0,
        }
        for method in params().methods
        for problem in (0, 1)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides=latency.SCHEMA)


def speed_settings() -> Settings:
    """Return what the speed table depends on."""
    return settings_of(params(), Target("speed", "demo"))


def accuracy_row() -> dict[str, Any]:
    """Return the values of one method on one benchmark, of two answers to two problems each."""
    scores = pl.DataFrame(
        {
            "problem_id": [0, 0, 1, 1], "repeat": [0, 1, 0, 1], "correct": True, "predicted": "7"
        }
    )  # fmt: skip
    answered = timed_answers().head(1).with_columns(finish_reason=pl.lit("stop"))
    return dict(accuracy.accuracy_row(scores, answered, 2, 0))


def difference_row() -> dict[str, Any]:
    """Return the values of one method against the large model."""
    scores = pl.DataFrame({"problem_id": [0, 1], "repeat": [0, 0], "correct": [True, False]})
    return dict(differences.difference_row(scores, scores, 2, 0))


def cue_table() -> pl.DataFrame:
    """Return cues.csv of one trace."""
    tokens = pl.DataFrame(
        {
            "problem_id": 0,
            "repeat": 0,
            "token": ["Thus", " yes", ".", " Hm", " no", "."],
            "margin": np.linspace(0.4, 0.9, 6),
            "stage": "reasoning",
        }
    )
    corpus = cue_effects.read_corpus(tokens.lazy(), include_prompt=False)
    return cue_effects.effects(corpus, ["Thus"], "boundary", params().cues, 0)


def answers_under_load() -> pl.DataFrame:
    """Return throughput.parquet of one answer, on a CPU."""
    row = {"method": "large", "replicas": 1, "in_flight": 1, "problem_id": 0, "wall_s": 1.0,
           "first_token_s": 0.1, "large_tokens": 1, "small_tokens": 0, "level_s": 1.0,
           "other_load": 0.0, "engines": 1, "gpus": 0, "cores": 1}  # fmt: skip
    return pl.DataFrame([row], schema_overrides=throughput.SCHEMA)


def replayed() -> dict[str, Any]:
    """Return replay.json of two traces."""
    counts = replay.Counts()
    for problem in (0, 1):
        models: tuple[Literal["large", "small"], ...] = ("large", "small")
        segments = [Segment(model, "reasoning", 2, None, 0.0) for model in models]
        counts.add(problem, Answer(segments=segments))
    return dict(counts.values())


def table(name: str) -> pl.DataFrame:
    """Return a row of results/tables/NAME.csv."""
    pair = {"pair": "demo"}
    figures = accuracy_row()
    final = pl.DataFrame({"problem_id": [0], "repeat": [0], "answer_text": [""]})
    same = answer_stage.consistency(final, final, "math")
    rows: dict[str, dict[str, Any]] = {
        "accuracy": {"method": "large", "benchmark": "b", **figures},
        "differences": {"method": "small", "benchmark": "b", **difference_row()},
        "policies": dict.fromkeys(front.SCHEMA, "1") | pair,
        "speed": dict(speed.speed_row("relaygen", timed_answers(), speed_settings())),
        "throughput": dict(under_load.load_rows(answers_under_load())[0]),
        "cue_ablation": {
            key: value
            for key, value in {"cue_set": "mined", "benchmark": "b", **figures}.items()
            if key in ablation.COLUMNS
        },
        "answer_stage": {"benchmark": "b", **same},
        "left_out": accuracy.left_out_rows("demo", {"b": "why"}).row(0, named=True),
    }  # fmt: skip
    printed = yaml.safe_load(paper_tables.REFERENCE.read_text())
    beside_paper, _ = paper_tables.GRIDS[name]
    found = beside_paper(pl.DataFrame([pair | rows[name]]), printed)
    if name == "policies":
        return paper_tables.with_speedup(
            found.select(pl.col(n).cast(t) for n, t in front.SCHEMA.items()), table("speed")
        )
    return found


def written() -> dict[str, Columns]:
    """Return {file: {column: type}} as the code writes them."""
    timed = {key: value for key, value in latency.SCHEMA.items() if key not in answers.SCHEMA}
    return {
        "results/PAIR/problems/SET.parquet": types(prompts.SCHEMA),
        "results/PAIR/traces.parquet": types(traces.SCHEMA),
        "results/PAIR/margins.parquet": types(margins.SCHEMA),
        "results/PAIR/cues.csv": types(cue_table().schema),
        "results/PAIR/replay.json": types(pl.DataFrame([replayed()]).schema),
        "results/PAIR/generations/METHOD/BENCHMARK.parquet": types(answers.SCHEMA),
        "segments": types({field.name: field.dtype for field in answers.SEGMENT.fields}),
        "results/PAIR/scores.parquet": types(grading.SCHEMA),
        "results/PAIR/latency.parquet": types(timed),
        "results/PAIR/throughput.parquet": types(throughput.SCHEMA),
        **{f"results/tables/{name}.csv": types(table(name).schema) for name in paper_tables.GRIDS},
    }


@pytest.mark.parametrize("file", sorted(documented()))
def test_the_outputs_page_has_every_column_with_its_type_and_no_other(file: str) -> None:
    assert documented()[file] == written()[file]


def test_the_outputs_page_has_every_file_with_columns() -> None:
    assert documented().keys() == written().keys()
