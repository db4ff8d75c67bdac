"""What a server is told: flags, environment, and the part of it that shapes answers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.config.params import load
from stages.config.schema import OUR_ARGS, Model, Ngram
from stages.engine.spec import EngineSpec, specs
from tests.unit.conftest import engine_specs

pytestmark = pytest.mark.unit

MODELS = {
    ("qwen3", "large"): ("Qwen/Qwen3-32B", "9216db5781bf21249d130ec9da846c4624c16137"),
    ("qwen3", "small"): ("Qwen/Qwen3-1.7B", "70d244cc86ccca08cf5af4e1e306ecf908b1ad5e"),
    ("r1", "large"): (
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "711ad2ea6aa40cfca18895e8aca02ab92df1a746",
    ),
    ("r1", "small"): (
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "ad9f0ae0864d7fbcd1cd905e3c6c5b069cc8b562",
    ),
}  # fmt: skip
AS_IN_THE_PAPER = [
    "--served-model-name", "model", "--dtype", "bfloat16", "--max-model-len", "36000",
    "--max-num-seqs", "3",
]  # fmt: skip
LAST = [
    "--enable-prompt-tokens-details", "--enable-scale-out",
    "--middleware", "stages.engine.gate.Gate",
    "--chat-template", "{{ messages[0].content }}", "--disable-uvicorn-access-log",
]  # fmt: skip
SHARED = {
    "VLLM_MAX_STOP_STRINGS": "128", "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "600",
    "VLLM_NO_USAGE_STATS": "1", "PYTHONUTF8": "1",
}  # fmt: skip


def test_each_role_gets_a_server_with_its_own_model() -> None:
    assert [(s.role, s.served.model) for s in engine_specs("large", "small")] == [
        ("large", "demo_pair/large"),
        ("small", "demo_pair/small"),
    ]


def test_an_engine_that_plays_two_roles_is_started_once() -> None:
    assert [spec.role for spec in engine_specs("large", "large")] == ["large"]


@pytest.mark.parametrize("pair", ["qwen3", "r1"])
@pytest.mark.parametrize(("role", "gpus"), [("large", "2"), ("small", "1")])
def test_the_papers_models_are_served_as_in_the_paper(pair: str, role: str, gpus: str) -> None:
    (spec,) = engine_specs(role, pair=pair)
    name, revision = MODELS[pair, role]
    assert spec.flags == [
        "--model", name, "--revision", revision, *AS_IN_THE_PAPER,
        "--tensor-parallel-size", gpus, "--gpu-memory-utilization", "0.8",
        "--enable-prefix-caching", *LAST,
    ]  # fmt: skip


def test_a_draft_head_on_the_hub_is_served_at_its_revision() -> None:
    (spec,) = engine_specs("eagle3", pair="qwen3")
    (large,) = engine_specs("large", pair="qwen3")
    at = len(spec.flags) - len(LAST)
    speculation = spec.flags[at - 4 : at]
    assert [flag for flag in spec.flags if flag not in speculation] == large.flags
    assert speculation[::2] == ["--speculative-config", "--per-request-spec-decode-metrics"]
    assert json.loads(speculation[1]) == {
        "method": "eagle3",
        "model": "RedHatAI/Qwen3-32B-speculator.eagle3",
        "num_speculative_tokens": 3,
        "revision": "dc84fe7ff1db31efa824776f49c141fc8195eb47",
    }


def test_a_draft_head_is_served_with_its_model() -> None:
    (spec,) = engine_specs("eagle3")
    flags = dict(zip(spec.flags, spec.flags[1:], strict=False))
    assert flags["--model"] == "demo_pair/large"
    assert json.loads(flags["--speculative-config"]) == {
        "method": "eagle3",
        "model": "demo_pair/eagle3",
        "num_speculative_tokens": 3,
    }


def test_the_small_model_drafts_for_the_large_one() -> None:
    (spec,) = engine_specs("draft")
    flags = dict(zip(spec.flags, spec.flags[1:], strict=False))
    assert flags["--model"] == "demo_pair/large"
    assert json.loads(flags["--speculative-config"]) == {
        "method": "draft_model",
        "model": "demo_pair/small",
        "num_speculative_tokens": 3,
    }


def test_the_text_drafts_without_a_model() -> None:
    (spec,) = engine_specs("ngram", pair="r1")
    flags = dict(zip(spec.flags, spec.flags[1:], strict=False))
    assert json.loads(flags["--speculative-config"]) == {
        "method": "ngram",
        "num_speculative_tokens": 3,
        "prompt_lookup_min": 2,
        "prompt_lookup_max": 5,
    }


def test_a_model_folder_is_served_on_gpus_without_the_hub() -> None:
    (small,) = engine_specs("small", pair="qwen3")
    spec = replace(small, served=Model(model="a/folder", gpus=1))
    assert spec.flags[:4] == ["--model", "a/folder", "--served-model-name", "model"]
    assert spec.environment["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(("role", "model"), [("large", "large"), ("small", "small")])
def test_the_bundled_models_are_served_on_the_cpu(role: str, model: str) -> None:
    (spec,) = engine_specs(role)
    assert spec.flags == [
        "--model", f"demo_pair/{model}", "--served-model-name", "model",
        "--dtype", "float32", "--max-model-len", "2048", "--max-num-seqs", "3",
        "--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192",
        "--block-size", "32", "--enforce-eager", "--distributed-executor-backend", "uni",
        "--enable-prefix-caching", *LAST,
    ]  # fmt: skip
    assert spec.environment == {
        **SHARED,
        "HF_HUB_OFFLINE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "TORCHDYNAMO_DISABLE": "1",
    }


def test_an_engine_uses_its_own_threads_whatever_the_job_was_given() -> None:
    (spec,) = engine_specs("large")
    threads = [spec.environment[f"{library}_NUM_THREADS"] for library in ("OMP", "MKL")]
    assert threads == [str(load(Path("params.yaml")).engines.cpu_threads)] * 2


def test_the_server_allows_the_requests_of_a_relay() -> None:
    (spec,) = engine_specs("large")
    flags = dict(zip(spec.flags, spec.flags[1:], strict=False))
    assert int(spec.environment["VLLM_MAX_STOP_STRINGS"]) > 80
    assert int(flags["--max-num-batched-tokens"]) >= int(flags["--max-model-len"])
    assert flags["--max-num-seqs"] == "3"
    assert "--enable-prefix-caching" in spec.flags


def test_a_server_on_gpus_sees_its_gpus_and_fetches_its_model() -> None:
    (large,) = engine_specs("large", pair="qwen3")
    placed = replace(large, gpu_ids=("0", "1"))
    assert placed.environment == {
        **SHARED,
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }


@pytest.mark.parametrize("pair", ["demo", "qwen3"])
def test_variables_of_params_reach_a_server_and_replace_the_defaults_for_gpus(pair: str) -> None:
    (spec,) = engine_specs("small", pair=pair)
    env = {"NCCL_DEBUG": "INFO", "VLLM_USE_FLASHINFER_SAMPLER": "1"}
    assert env.items() <= replace(spec, env=env).environment.items()


def test_an_engines_own_share_of_memory_goes_before_that_of_all() -> None:
    params = load(Path("params.yaml"))
    pair = params.pair("qwen3")
    served = {**pair.engines, "small": Model(model="a/folder", gpus=1, gpu_memory=0.3)}
    pair = pair.model_copy(update={"engines": served})
    shares = [one.gpu_memory for one in specs(pair, params.engines, ("large", "small"), 1)]
    assert shares == [0.8, 0.3]


def test_the_shape_of_an_engine_is_its_model_and_how_it_computes() -> None:
    (spec,) = engine_specs("eagle3")
    assert spec.shape() == {
        "model": "demo_pair/large",
        "revision": None,
        "speculation": {
            "method": "eagle3",
            "model": "demo_pair/eagle3",
            "revision": None,
            "tokens": 3,
        },
        "gpus": 0,
        "env": {},
        "dtype": "float32",
        "max_model_len": 2048,
        "prefix_caching": True,
    }


def test_limits_of_the_machine_are_not_in_the_shape() -> None:
    (spec,) = engine_specs("large")
    elsewhere = replace(
        spec, concurrency=99, cpu_threads=8, kv_cache_gib=7, gpu_memory=0.1, gpu_ids=("5",),
        served=spec.served.model_copy(update={"gpu_memory": 0.2}),
    )  # fmt: skip
    assert elsewhere.shape() == spec.shape()


@pytest.mark.parametrize(
    "change",
    [
        {"served": Model(model="another/folder")},
        {"served": Model(model="demo_pair/large", gpus=2)},
        {"served": Model(model="demo_pair/large", speculation=Ngram(method="ngram", tokens=2))},
        {"env": {"NCCL_ALGO": "Ring"}},
        {"dtype": "bfloat16"},
        {"max_model_len": 4096},
        {"prefix_caching": False},
    ],
)
def test_what_can_change_the_answers_changes_the_shape(change: dict[str, Any]) -> None:
    (spec,) = engine_specs("large")
    assert replace(spec, **change).shape() != spec.shape()


def test_an_engine_with_routers_is_told_so_and_others_are_not() -> None:
    params = load(Path("params.yaml"))
    routers = [("small", "entropy"), ("small", "a.safetensors"), ("small", "entropy")]
    large, small = specs(
        params.pair("demo"), params.engines, ("large", "small"), 1, routers=routers
    )
    assert small.environment["RELAYGEN_ROUTERS"] == '["entropy", "a.safetensors"]'
    assert "RELAYGEN_ROUTERS" not in large.environment


def with_args(**args: Any) -> EngineSpec:
    """The small engine with further arguments of vLLM's."""
    (spec,) = engine_specs("small")
    served = Model(model="demo_pair/small", args={n.replace("_", "-"): v for n, v in args.items()})
    return replace(spec, served=served)


def test_further_arguments_come_last_so_that_they_win_over_ours() -> None:
    spec = with_args(block_size=16, enforce_eager=False, hf_overrides={"rope_theta": 1.0})
    given = ["--block-size", "16", "--no-enforce-eager", "--hf-overrides", '{"rope_theta": 1.0}']
    assert spec.flags == [*engine_specs("small")[0].flags, *given]


@pytest.mark.parametrize(("pair", "role"), [("demo", "eagle3"), ("qwen3", "eagle3")])
def test_what_the_pipeline_decides_cannot_be_given(pair: str, role: str) -> None:
    (spec,) = engine_specs(role, pair=pair)
    may_be_given = {
        "enable-chunked-prefill", "max-num-batched-tokens", "block-size", "enforce-eager",
        "distributed-executor-backend",
    }  # fmt: skip
    ours = {flag[2:].removeprefix("no-") for flag in spec.flags if flag.startswith("--")}
    assert ours - may_be_given <= set(OUR_ARGS)
