"""params.yaml: what is wrong is named in one line, with the key."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo_pair import task
from stages.config import catalogue, checks, families, names
from stages.config.families import Family
from stages.config.params import load
from stages.config.schema import Pair
from stages.config.selection import infer_of, methods_of, skip_reason, variants_of, with_defaults
from stages.planning import assumptions
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit

SET = "pairs.demo.benchmarks.chains_short"
DOTS = SET.replace(".", r"\.")
ENGINE = "pairs.demo.engines.eagle3"
HUB: dict[str, Any] = {
    "source": "hub",
    "path": "Owner/set",
    "revision": "0" * 40,
    "split": "test",
    "columns": {"problem": "question", "answer": "answer"},
    "scoring": "math",
}
HUB_CHOICE = {
    **HUB,
    "columns": {"problem": "Q", "answer": "Right", "wrong": ["Wrong 1", "Wrong 2"]},
    "scoring": "choice",
}
FILE = {"source": "file", "path": "data/example.jsonl", "scoring": "math"}


def file_with(tmp_path: Path, key: str, value: Any) -> Path:
    """The project's params.yaml with one dotted key set (None as value: removed)."""
    *path, last = key.split(".")
    return with_entry(tmp_path, path, last, value)


def with_entry(tmp_path: Path, path: list[str], last: Any, value: Any) -> Path:
    """The same, for a key of any kind below `path`."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    block = params
    for part in path:
        block = block[part]
    if value is None:
        del block[last]
    else:
        block[last] = value
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return file


def test_the_projects_params_are_valid() -> None:
    assert load(Path("params.yaml")).run == ["demo"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("cues.min_dleta", 0.1, r"cues\.min_dleta: unknown key, did you mean 'min_delta'\?"),
        ("inferr", {}, r"inferr: unknown key, did you mean 'infer'\?"),
        ("pairs.demo.repeats", "two", r"pairs\.demo\.repeats: .*integer.*'two'"),
        ("engines.env.PATH", "x", r"engines\.env\.PATH: only VLLM_\*, NCCL_\* and CUDA_DEVICE_"),
        ("engines.env.VLLM_API_KEY", "x", r"VLLM_API_KEY: the pipeline sets this variable itself"),
        ("engines.env.NCCL_ALGO", 1, r"engines\.env\.NCCL_ALGO: .*string .*write it in quotes"),
        ("infer.shards", 0, r"infer\.shards: .*greater than 0"),
        ("infer.retries", None, r"infer\.retries: Field required"),
        ("run", ["qwen"], "run: unknown pair 'qwen', known: demo"),
        (
            "methods.magic",
            {"kind": "magic"},
            r"methods\.magic: kind must be one of relay, single, spec_think",
        ),
        (
            "tune.policies.small_token.kind",
            "spec_think",
            r"tune\.policies\.small_token: ",
        ),
        (
            "tune.policies.relay_early.cues",
            "all",
            r"tune\.policies\.relay_early: .*kind: relay and cues: none or pair",
        ),
        ("tune.policies.relay_early.early.margin", "high", r"relay_early: early\.margin: "),
        ("methods.small.speed", 3, r"methods\.small: speed: Extra inputs"),
        ("pairs.demo.engines.small", None, r"pairs\.demo: engines\.small is missing"),
        ("pairs.demo.benchmarks", {}, r"pairs\.demo: .*at least one benchmark"),
        ("pairs.demo.sampling.top_p", 1.5, r"pairs\.demo\.sampling\.top_p: .*less than or equal"),
        (
            "pairs.demo.engines.eagle3.speculation.tokens",
            None,
            r"engines\.eagle3\.speculation\.\w+\.tokens: Field required",
        ),
        ("methods.large", None, r"methods\.large is missing"),
        ("latency.n_problems", 1, r"latency\.n_problems: .*greater than or equal to 2"),
        ("methods.relaygen", None, r"methods\.relaygen is missing: the ablation"),
        (
            "pairs.demo.speed_benchmark",
            "aime",
            r"pairs\.demo: speed_benchmark: .*no benchmark 'aime', known: chains",
        ),
        ("pairs.demo.ablation_benchmark", "aime", r"ablation_benchmark: .*no benchmark 'aime'"),
        ("pairs.demo.cues", "published", r"pairs\.demo: cues: published goes with"),
        ("pairs.qwen3.engines.small.revision", "main", r"small\.revision: .*match pattern"),
        (
            "ablation.methods.large",
            {"kind": "single", "engine": "large", "cues": "none"},
            r"ablation\.methods\.large: methods has this name too",
        ),
        ("engines.base_port", 80, r"engines\.base_port: .*greater than or equal to 1024"),
        ("pairs.demo.as_released", {"prompts": True}, r"as_released\.prompts: unknown key"),
        (
            "pairs.demo.family",
            "qwen",
            r"pairs\.demo\.family: unknown family 'qwen', .*has: default, demo, qwen3, r1",
        ),
        (f"{SET}.n_problem", 5, rf"{DOTS}\.n_problem: unknown key, did you mean 'n_problems'\?"),
        (f"{SET}.n_problems", None, rf"{DOTS}\.n_problems: Field required"),
        (f"{SET}.source", "web", rf"{DOTS}: .*'web'.* 'demo_pair', 'hub', 'file'"),
        (SET, HUB | {"revision": "main"}, rf"{DOTS}: revision 'main' is not a commit"),
        (SET, {**HUB, "revisoin": "x"}, rf"{DOTS}\.revisoin: unknown key, .* 'revision'\?"),
        (SET, {key: HUB[key] for key in HUB if key != "revision"}, rf"{DOTS}\.revision: Field req"),
        (
            SET,
            HUB | {"scoring": "choice"},
            rf"{DOTS}: columns\.wrong, .* goes with scoring: choice",
        ),
        (
            SET,
            {**FILE, "columns": {"problem": "q", "answer": "a", "choices": "o"}},
            rf"{DOTS}: columns\.wrong, .* goes with scoring: choice",
        ),
        (
            SET,
            {**HUB_CHOICE, "columns": {**HUB_CHOICE["columns"], "choices": "o"}},
            rf"{DOTS}: columns\.wrong and columns\.choices are two ways",
        ),
        (SET, HUB | {"sha256": "abc"}, rf"{DOTS}\.sha256: .*match pattern"),
        (SET, {**FILE, "split": "test"}, rf"{DOTS}\.split: unknown key"),
        (SET, {**FILE, "prompt": "Why?"}, rf"{DOTS}\.prompt: a prompt needs {{problem}}"),
        (SET, {"n_problems": 5}, "'chains_short' has no source and is not in .* has: aime24, "),
        ("pairs.demo.benchmarks", ["aime2025"], "'aime2025' has no source and is not in "),
        (
            "pairs.demo.sampling.min_p",
            2,
            r"pairs\.demo\.sampling\.min_p: .*less than or equal to 1",
        ),
        ("pairs.demo.sampling.min_q", 0.1, r"min_q: unknown key, did you mean 'min_p'\?"),
        (f"{ENGINE}.args", {"--seed": 1}, r"\.args: '--seed': write vLLM's arguments as max-num"),
        (f"{ENGINE}.args", {"max-model-len": 1}, r"'max-model-len' is set by the pipeline"),
        (f"{ENGINE}.args", {"no-enable-prefix-caching": True}, r"caching' is set by the pipeline"),
        (SET, {**FILE, "n_problems": 0}, rf"{DOTS}\.n_problems: .*greater than 0"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(file_with(tmp_path, key, value))
    assert "\n" not in str(caught.value)


# Names: they are parts of paths and of commands.

PAIR: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["pairs"][
    "demo"
]
TOY = {"source": "demo_pair", "n_problems": 5, "scoring": "math"}
SMALL = {"kind": "single", "engine": "small", "cues": "none"}
NAMED = {
    "pairs": PAIR,
    "methods": SMALL,
    "ablation.methods": SMALL,
    "pairs.demo.engines": "demo_pair/small",
    "pairs.demo.benchmarks": FILE,
    "pairs.demo.calibration": FILE,
}
BAD = [
    *("", ".", "..", "-x", ".x", "_x", "x.", "a b", " a", "a\n", "a/b", "../../../evil", "/etc"),
    *("`touch PWNED`", "$(touch PWNED)", "a;b", "a&b", "a|b", "a>b", "children's", 'a"b', "a\\b"),
    *("a:b", "a@b", "a*b", "{pair}", "a%b", "#a", "~a", "é", "ⅷ", "a\u200b", "a" * 65, "a\0b"),
]
GOOD = ["a", "A", "7", "aime25", "qwen3_as_released", "v1.1", "top-k", "a" * 64, "x_", "x-"]


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_is_not_fit_for_a_file_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name has up to 64 letters"):
        names.check(name)


@pytest.mark.parametrize("name", GOOD)
def test_a_name_of_letters_digits_and_what_files_may_hold_is_fine(name: str) -> None:
    assert names.check(name) == name


@pytest.mark.parametrize("key", NAMED)
@pytest.mark.parametrize("name", ["", "../evil", "a\nb"])
def test_every_name_is_checked_and_its_key_is_named(tmp_path: Path, key: str, name: str) -> None:
    with pytest.raises(
        UserError, match=re.escape(f"{key}.{name if name == '../evil' else repr(name)}: a name")
    ) as caught:
        load(with_entry(tmp_path, key.split("."), name, NAMED[key]))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("key", NAMED)
def test_names_may_have_dots(tmp_path: Path, key: str) -> None:
    if key != "pairs.demo.calibration":  # of which there is one
        load(with_entry(tmp_path, key.split("."), "v1.1", NAMED[key]))


@pytest.mark.parametrize(("name", "shown"), [(7, "7"), (1.5, "1.5"), (True, "True")])
def test_a_name_that_yaml_takes_for_something_else_is_to_be_quoted(
    tmp_path: Path, name: Any, shown: str
) -> None:
    with pytest.raises(UserError, match=rf"string \(given: {shown}\): write it in quotes"):
        load(with_entry(tmp_path, ["pairs"], name, PAIR))


@pytest.mark.parametrize(
    "name", [*names.RESERVED, "Tables", "REPORT", "tables.yaml", "report.html", "plan.log"]
)
def test_a_pair_has_no_name_that_results_use(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        UserError, match=rf"pairs\.{name}: results/ and logs/ use the names bench, "
    ):
        load(with_entry(tmp_path, ["pairs"], name, PAIR))


@pytest.mark.parametrize(
    ("key", "name", "message"),
    [
        ("pairs", "Demo", "pairs: 'demo' and 'Demo' differ in case alone"),
        ("methods", "RelayGen", "methods: 'relaygen' and 'RelayGen' differ in case alone"),
        ("ablation.methods", "Large", "methods: 'large' and 'Large' differ in case alone"),
        (
            "pairs.demo.benchmarks",
            "CHAINS_calibration",
            r"pairs\.demo: 'chains_calibration' and 'CHAINS_calibration' differ in case alone",
        ),
    ],
)
def test_names_that_differ_in_case_alone_are_refused(
    tmp_path: Path, key: str, name: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(with_entry(tmp_path, key.split("."), name, NAMED[key]))


def test_names_that_dvc_would_join_to_one_stage_are_refused(tmp_path: Path) -> None:
    params = yaml.safe_load(file_with(tmp_path, "run", ["a", "a-b"]).read_text(encoding="utf-8"))
    params["pairs"] |= {"a": PAIR, "a-b": PAIR}
    params["methods"] |= {"c": SMALL, "b-c": SMALL}
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    with pytest.raises(UserError, match="would both be DVC's stage 'a-b-c': rename one"):
        load(file)


# What would be found late.


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "latency.n_problems",
            31,
            r"latency\.n_problems: 31, and the speed benchmark of pair 'demo', chains_short, ",
        ),
        ("pairs.demo.cues", "minned", r"pairs\.demo\.cues: 'minned' .* did you mean 'mined'\?"),
        ("pairs.r1.cues", "minned", r"pairs\.r1\.cues: 'minned' is neither one of mined, "),
        ("pairs.demo.cues", "my.yaml", r"pairs\.demo\.cues: my\.yaml: no such file"),
        ("pairs.demo.cues", "my.csv", r"pairs\.demo\.cues: my\.csv: no such file"),
        ("pairs.demo.published", "qwen2", r"pairs\.demo\.published: unknown 'qwen2', known: qwen3"),
        ("methods.relaygen.cues", "minned", r"methods\.relaygen: cues: Input should be 'none', "),
        (SET, {**FILE, "path": "no.jsonl"}, rf"{DOTS}\.path: no\.jsonl: no such file"),
        (
            SET,
            {**TOY, "n_problems": 10**6},
            rf"{DOTS}\.n_problems: 1000000; demo_pair gives 100000",
        ),
        (SET, {**TOY, "scoring": "choice"}, rf"{DOTS}\.scoring: this set goes with scoring: math"),
        (
            "pairs.demo.benchmarks.aime25",
            TOY,
            r"benchmarks\.aime25: demo_pair has no problem set 'aime25', known: train",
        ),
        ("run", ["demo", "demo"], "run: pair 'demo' is there 2 times"),
        ("cues.min_delta", float("nan"), r"cues\.min_delta: Input should be a finite number"),
        ("pairs.demo.sampling.temperature", float("inf"), r"temperature: .*finite"),
    ],
)
def test_what_would_fail_late_is_refused(
    tmp_path: Path, key: str, value: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(file_with(tmp_path, key, value))
    assert "\n" not in str(caught.value)


def test_the_problems_of_a_file_are_counted_where_n_problems_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "few.jsonl").write_text('{"problem": "?", "answer": 1}\n\n' * 4, encoding="utf-8")
    few = {**FILE, "path": str(tmp_path / "few.jsonl")}
    with pytest.raises(UserError, match=r"latency\.n_problems: 5, .* has 4 problems"):
        load(file_with(tmp_path, SET, few))


def test_as_many_problems_as_there_are_can_be_timed(tmp_path: Path) -> None:
    assert load(file_with(tmp_path, "latency.n_problems", 30)).latency.n_problems == 30


def test_a_file_of_cues_may_be_the_pairs(tmp_path: Path) -> None:
    cues = tmp_path / "cues.yaml"
    cues.write_text("[So, Thus]\n", encoding="utf-8")
    assert load(file_with(tmp_path, "pairs.demo.cues", str(cues))).pair("demo").cues == str(cues)


def test_the_bundled_sets_are_those_of_the_task() -> None:
    scoring = {name: "choice" if split.choices else "math" for name, split in task.SPLITS.items()}
    assert scoring == checks.TOY_SETS


def test_the_bundled_task_gives_as_many_problems_as_one_may_ask_for() -> None:
    fewest = min(
        n for split in task.SPLITS.values() for n in split.n_steps if len(split.n_steps) == 1
    )
    chains = 100 * (98 + 98 + 4) ** fewest // 10  # start values, steps, one of ten buckets
    assert chains >= 4 * checks.MOST_TOY_PROBLEMS


# Mistakes that several blocks share.


def test_a_mistake_behind_an_anchor_is_named_once(tmp_path: Path) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    file = tmp_path / "params.yaml"
    file.write_text(text.replace("budget: 32768", "budget: many"), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load(file)
    assert str(caught.value) == (
        f"{file}: pairs.qwen3.budget: Input should be a valid integer (given: 'many') "
        "(the same in pairs.r1, pairs.qwen3_as_released, pairs.r1_as_released)"
    )


def test_what_holds_of_a_whole_block_is_said_without_its_content(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(file_with(tmp_path, "pairs.demo.engines.small", None))
    assert str(caught.value) == (
        f"{tmp_path / 'params.yaml'}: pairs.demo: engines.small is missing: "
        "a pair has a large and a small model"
    )


@pytest.mark.parametrize("benchmark", [HUB, HUB_CHOICE, FILE])
def test_a_benchmark_may_come_from_the_hub_or_a_file(
    tmp_path: Path, benchmark: dict[str, Any]
) -> None:
    params = load(file_with(tmp_path, "pairs.demo.benchmarks.chains_choice", benchmark))
    assert params.pair("demo").benchmarks["chains_choice"].n_problems is None


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    file = file_with(tmp_path, "infer.shards", 0)
    file.write_text(file.read_text().replace("min_delta", "min_dleta"))
    with pytest.raises(UserError, match=r"cues\.min_delta: Field required.*infer\.shards"):
        load(file)


def test_broken_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("seed: [1\nrun: 2")
    with pytest.raises(UserError, match=r"not valid YAML: .*line 2"):
        load(file)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run from the project"):
        load(tmp_path / "params.yaml")


def test_a_pair_goes_without_the_methods_whose_engines_it_does_not_have() -> None:
    params = load(Path("params.yaml"))
    assert list(methods_of(params, "r1")) == [
        *("small", "large", "ngram", "spec_think", "r2r_entropy", "relaygen")
    ]
    assert skip_reason(params, "r1", "eagle3") == (
        "pair 'r1' has no engine 'eagle3', known: large, ngram, small"
    )


@pytest.mark.parametrize(
    ("pair", "variants"),
    [
        ("demo", ["all_candidates", "substring", "answer_by_large"]),
        ("qwen3", ["all_candidates", "mined", "boundary", "answer_by_large"]),
    ],
)
def test_the_ablation_leaves_out_what_is_the_relay_itself(pair: str, variants: list[str]) -> None:
    assert list(variants_of(load(Path("params.yaml")), pair)) == variants


def test_the_papers_pairs_are_as_the_paper_ran_them() -> None:
    pair = load(Path("params.yaml")).pair("qwen3")
    assert pair.engines["large"].gpus == 2
    assert pair.engines["small"].gpus == 1
    drafters = [served.drafter.model for served in pair.engines.values() if served.drafter]
    assert drafters == ["RedHatAI/Qwen3-32B-speculator.eagle3", "Qwen/Qwen3-1.7B"]
    assert (pair.max_model_len, pair.budget, pair.repeats) == (36000, 32768, 4)
    assert (pair.cues, pair.cue_matching) == ("published", "substring")
    assert list(pair.benchmarks) == ["aime25", "math500", "gpqa_diamond"]


@pytest.mark.parametrize("name", ["qwen3", "r1"])
def test_as_released_differs_in_every_switch_and_in_nothing_else(name: str) -> None:
    params = load(Path("params.yaml"))
    paper, released = params.pair(name), params.pair(f"{name}_as_released")
    assert not any(paper.as_released.model_dump().values())
    assert all(released.as_released.model_dump().values())
    assert released.model_copy(update={"as_released": paper.as_released}) == paper


# What has not to be given.


def small_pair(**more: Any) -> Pair:
    """A pair of which no more is given than has to be."""
    engines = {"large": "demo_pair/large", "small": "demo_pair/small"}
    return Pair.model_validate(
        {"engines": engines, "benchmarks": ["aime25"], "budget": 1000} | more
    )


def test_engines_benchmarks_and_budget_are_a_pair() -> None:
    pair = small_pair()
    assert pair.family == Family.model_validate(families.whole("default"))
    assert (pair.dtype, pair.max_model_len, pair.repeats) == ("float32", 3048, 1)
    assert pair.sampling.given() == {"temperature": 0.6, "top_p": 0.95, "top_k": 0}
    assert (pair.cues, pair.cue_matching, pair.calibration_set) == ("mined", "boundary", "amc23")
    assert pair.single_benchmarks == {"speed_benchmark": "aime25", "ablation_benchmark": "aime25"}
    assert not any(pair.as_released.model_dump().values())


def test_on_gpus_the_usual_type_is_bfloat16() -> None:
    engines = {role: {"model": f"demo_pair/{role}", "gpus": 1} for role in ("large", "small")}
    assert small_pair(engines=engines).dtype == "bfloat16"


@pytest.mark.parametrize("key", ["engines", "benchmarks", "budget"])
def test_what_a_pair_cannot_do_without_is_named_alone(tmp_path: Path, key: str) -> None:
    given = {"engines": PAIR["engines"], "benchmarks": ["aime25"], "budget": 1000}
    del given[key]
    with pytest.raises(UserError, match=rf"params\.yaml: pairs\.demo\.{key}: Field required$"):
        load(file_with(tmp_path, "pairs.demo", given))


def test_a_set_of_the_catalogue_may_be_changed_key_by_key() -> None:
    changed = small_pair(benchmarks={"math500": {"n_problems": 50}, "aime25": None}).benchmarks
    listed = small_pair(benchmarks=["math500", "aime25"]).benchmarks
    assert changed["math500"] == listed["math500"].model_copy(update={"n_problems": 50})
    assert changed["aime25"] == listed["aime25"]


@pytest.mark.parametrize("name", sorted(catalogue.catalogue()))
def test_every_set_of_the_catalogue_is_valid_and_its_size_is_known_to_the_plan(name: str) -> None:
    (benchmark,) = small_pair(benchmarks=[name], calibration=[other_than(name)]).benchmarks.values()
    assert benchmark.source == "hub"
    assert assumptions.load(Path("workflow/reference/plan.yaml")).problems_of(name) >= 30


def other_than(name: str) -> str:
    """Another set of the catalogue."""
    return next(one for one in catalogue.catalogue() if one != name)


def test_the_papers_benchmarks_are_those_of_the_catalogue() -> None:
    pair = load(Path("params.yaml")).pair("qwen3")
    assert small_pair(benchmarks=list(pair.benchmarks)).benchmarks == pair.benchmarks
    assert small_pair().calibration == pair.calibration


def test_methods_whose_engine_no_pair_has_are_left_out_and_said_so(tmp_path: Path) -> None:
    params = load(file_with(tmp_path, "methods.small.engine", "tiny"))
    assert "small" not in methods_of(params, "demo")
    (line,) = checks.without_engines(params)
    assert line.startswith("method 'small' is left out: no pair has an engine 'tiny', known: draft")


def test_unknown_names_list_the_known_ones() -> None:
    params = load(Path("params.yaml"))
    with pytest.raises(UserError, match=r"unknown method .magic., params\.yaml has: small, large"):
        params.method("magic")
    with pytest.raises(UserError, match=r"unknown pair .qwen., params\.yaml has: demo"):
        params.pair("qwen")


# Routers.


def with_r2r(folder: Path, **line: Any) -> Path:
    """params.yaml with a method that routes tokens."""
    given = {"kind": "token_route", "large": "large", "small": "small", "cues": "none", **line}
    return file_with(folder, "methods.r2r", given)


def test_a_pair_has_its_own_number_in_flight_or_the_usual_one() -> None:
    params = load(Path("params.yaml"))
    assert [infer_of(params, name).concurrency for name in ("demo", "qwen3", None)] == [64, 16, 16]


def test_a_method_takes_the_router_of_its_pair() -> None:
    params = load(Path("params.yaml"))
    own = with_defaults(params, "demo", "r2r").routers
    assert own == {"small": "demo_pair/router/model.safetensors"}


def test_a_pair_without_a_router_goes_without_the_method() -> None:
    reason = skip_reason(load(Path("params.yaml")), "qwen3", "r2r")
    assert reason == "pair 'qwen3' has no router (pairs.qwen3.router)"


def test_a_pairs_router_that_is_not_there_is_named_by_the_pairs_key(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pairs\.demo\.router: none\.safetensors: no such file"):
        load(file_with(tmp_path, "pairs.demo.router", "none.safetensors"))


def test_a_method_by_entropy_needs_no_file(tmp_path: Path) -> None:
    assert load(with_r2r(tmp_path, router="entropy")).method("r2r").routers == {"small": "entropy"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"router": "none.safetensors"}, r"methods\.r2r\.router: none\.safetensors: no such file"),
        ({"router": "README.md"}, r"methods\.r2r\.router: README\.md: not a router"),
        ({"router": "entropy", "small": "eagle3"}, "engine 'eagle3' drafts tokens"),
        ({"router": "a.safetensors", "threshold": 2}, r"threshold: .*2\.0, and a router's output"),
    ],
)
def test_a_router_that_cannot_be_is_named_before_anything_runs(
    tmp_path: Path, line: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(with_r2r(tmp_path, **line))
