"""params.yaml: what is wrong is named in one line, with the key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.config.params import load
from stages.config.selection import methods_of, skip_reason, variants_of
from stages.runtime.errors import UserError
from tests.unit.conftest import changed

pytestmark = pytest.mark.unit

SET = "pairs.demo.benchmarks.chains_short"
DOTS = SET.replace(".", r"\.")
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
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(changed(key, value)))
    return file


def test_the_projects_params_are_valid() -> None:
    assert load(Path("params.yaml")).run == ["demo"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("cues.min_dleta", 0.1, r"cues\.min_dleta: unknown key, did you mean 'min_delta'\?"),
        ("inferr", {}, r"inferr: unknown key, did you mean 'infer'\?"),
        ("pairs.demo.repeats", "two", r"pairs\.demo\.repeats: .*integer.*'two'"),
        ("infer.shards", 0, r"infer\.shards: .*greater than 0"),
        ("infer.retries", None, r"infer\.retries: Field required"),
        ("run", ["qwen"], "run: unknown pair 'qwen', known: demo"),
        (
            "methods.magic",
            {"kind": "magic"},
            r"methods\.magic: kind must be one of relay, single, spec_think",
        ),
        (
            "methods.small.engine",
            "tiny",
            r"methods\.small: no pair has an engine 'tiny', known: eagle3",
        ),
        ("methods.small.speed", 3, r"methods\.small: speed: Extra inputs"),
        ("pairs.demo.engines.small", None, r"pairs\.demo: engines\.small is missing"),
        ("pairs.demo.benchmarks", {}, r"pairs\.demo: .*at least one benchmark"),
        ("pairs.demo.sampling.top_p", 1.5, r"pairs\.demo\.sampling\.top_p: .*less than or equal"),
        (
            "pairs.demo.engines.eagle3.draft_tokens",
            None,
            r"engines\.eagle3: draft and draft_tokens",
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
            r"pairs\.demo\.family: Input should be 'demo', 'qwen3' or 'r1'",
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
        (SET, HUB | {"sha256": "abc"}, rf"{DOTS}\.sha256: .*match pattern"),
        (SET, {**FILE, "split": "test"}, rf"{DOTS}\.split: unknown key"),
        (SET, {**FILE, "n_problems": 0}, rf"{DOTS}\.n_problems: .*greater than 0"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(file_with(tmp_path, key, value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("benchmark", [HUB, HUB_CHOICE, FILE])
def test_a_benchmark_may_come_from_the_hub_or_a_file(
    tmp_path: Path, benchmark: dict[str, Any]
) -> None:
    params = load(file_with(tmp_path, SET, benchmark))
    assert params.pair("demo").benchmarks["chains_short"].n_problems is None


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
    assert list(methods_of(params, "r1")) == ["small", "large", "spec_think", "relaygen"]
    assert skip_reason(params, "r1", "eagle3") == (
        "pair 'r1' has no engine 'eagle3', known: large, small"
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
    assert pair.engines["eagle3"].draft == "RedHatAI/Qwen3-32B-speculator.eagle3"
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


def test_unknown_names_list_the_known_ones() -> None:
    params = load(Path("params.yaml"))
    with pytest.raises(UserError, match=r"unknown method .magic., params\.yaml has: small, large"):
        params.method("magic")
    with pytest.raises(UserError, match=r"unknown pair .qwen., params\.yaml has: demo"):
        params.pair("qwen")
