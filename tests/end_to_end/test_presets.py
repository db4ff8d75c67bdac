"""The paper's runs, planned on a machine without a GPU: the right jobs, none of them started."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.end_to_end.conftest import checkout, run

pytestmark = pytest.mark.end_to_end

METHODS = {
    "qwen3": [
        *("small", "large", "eagle3", "draft", "spec_think", "r2r_entropy"),
        *("relaygen", "relaygen_eagle3"),
    ],
    "r1": ["small", "large", "ngram", "spec_think", "r2r_entropy", "relaygen"],
}
VARIANTS = ["all_candidates", "mined", "boundary", "answer_by_large"]
SHARDS = 8


@pytest.fixture(scope="module", params=["", "_as_released"], ids=["paper", "as_released"])
def preset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout that is to run both of the paper's pairs, answers in parts."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["run"] = [f"{pair}{request.param}" for pair in METHODS]
    params["infer"]["shards"] = SHARDS
    return checkout(tmp_path_factory.mktemp("preset"), params)


def test_snakemake_lists_every_method_of_every_pair_in_parts(preset: Path) -> None:
    listed = run(preset, "snakemake", "-n").stdout
    counted = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", listed, re.MULTILINE)}
    answering = sum(len(methods) + len(VARIANTS) for methods in METHODS.values())
    assert counted["infer"] == answering * SHARDS
    # Those, too, that a pair goes without: their folder says why.
    params = yaml.safe_load((preset / "params.yaml").read_text())
    every = [*params["methods"], *params["ablation"]["methods"]]
    assert counted["merge"] == counted["cue_set"] == len(METHODS) * len(every)
    assert counted["latency"] == counted["traces"] == len(METHODS)


def test_dvc_lists_every_stage_of_every_pair(preset: Path) -> None:
    listed = run(preset, "dvc", "repro", "--dry", "--force").stdout
    stages = re.findall(r"Running stage '([^']+)'", listed)
    counted = Counter(stage.split("@")[0] for stage in stages)
    assert counted["prepare"] == counted["traces"] == counted["latency"] == len(METHODS)
    params = yaml.safe_load((preset / "params.yaml").read_text())
    assert counted["infer"] == len(METHODS) * len(params["methods"])
    assert stages[-1] == "report"


def test_the_plan_names_every_engine_with_its_cards(preset: Path) -> None:
    result = run(preset, "python", "-m", "stages.plan", "--commands")
    assert result.returncode == 0, result.stderr
    commands = [line for line in result.stdout.splitlines() if not line.startswith("#")]
    assert all(line.startswith("CUDA_VISIBLE_DEVICES=") for line in commands)
    assert any("Qwen/Qwen3-32B" in line and "eagle3" in line for line in commands)
