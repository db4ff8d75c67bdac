"""How servers are asked to run, without running one."""

import json
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stages.config.params import Model, load
from stages.engine import server
from stages.runtime.errors import UserError

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
    "--chat-template", "{{ messages[0].content }}", "--disable-uvicorn-access-log",
]  # fmt: skip
SHARED = {
    "VLLM_MAX_STOP_STRINGS": "128", "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "600",
    "VLLM_NO_USAGE_STATS": "1",
}  # fmt: skip


def specs(*roles: str, pair: str = "demo") -> list[server.EngineSpec]:
    params = load(Path("params.yaml"))
    return server.specs(params.pair(pair), params.engines, roles, concurrency=3)


def cards(count: int) -> list[str]:
    """CUDA_VISIBLE_DEVICES's names of a machine's cards."""
    return [str(i) for i in range(count)]


@pytest.mark.parametrize("pair", ["qwen3", "r1"])
@pytest.mark.parametrize(("role", "gpus"), [("large", "2"), ("small", "1")])
def test_the_papers_models_are_served_as_in_the_paper(pair: str, role: str, gpus: str) -> None:
    (spec,) = specs(role, pair=pair)
    name, revision = MODELS[pair, role]
    assert spec.flags == [
        "--model", name, "--revision", revision, *AS_IN_THE_PAPER,
        "--tensor-parallel-size", gpus, "--gpu-memory-utilization", "0.8",
        "--enable-prefix-caching", *LAST,
    ]  # fmt: skip


def test_a_draft_head_on_the_hub_is_served_at_its_revision() -> None:
    (spec,) = specs("eagle3", pair="qwen3")
    (large,) = specs("large", pair="qwen3")
    at = len(spec.flags) - len(LAST)
    speculation = spec.flags[at - 2 : at]
    assert [flag for flag in spec.flags if flag not in speculation] == large.flags
    assert speculation[0] == "--speculative-config"
    assert json.loads(speculation[1]) == {
        "method": "eagle3",
        "model": "RedHatAI/Qwen3-32B-speculator.eagle3",
        "num_speculative_tokens": 3,
        "revision": "dc84fe7ff1db31efa824776f49c141fc8195eb47",
    }


def test_a_server_on_gpus_sees_its_cards_and_fetches_its_model() -> None:
    large, small = server.placed(specs("large", "small", pair="qwen3"), cards(3))
    assert large.environment == {**SHARED, "CUDA_VISIBLE_DEVICES": "0,1"}
    assert small.environment == {**SHARED, "CUDA_VISIBLE_DEVICES": "2"}


def test_a_model_folder_is_served_on_gpus_without_the_hub() -> None:
    (small,) = specs("small", pair="qwen3")
    (spec,) = server.placed([replace(small, served=Model(model="a/folder", gpus=1))], cards(1))
    assert spec.flags[:4] == ["--model", "a/folder", "--served-model-name", "model"]
    assert spec.environment["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(("role", "model"), [("large", "large"), ("small", "small")])
def test_the_bundled_models_are_served_on_the_cpu(role: str, model: str) -> None:
    (spec,) = specs(role)
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
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "TORCHDYNAMO_DISABLE": "1",
    }


@pytest.mark.parametrize(
    ("pair", "module"),
    [("demo", "stages.engine.serve"), ("qwen3", "vllm.entrypoints.openai.api_server")],
)
def test_only_vllm_for_cpus_is_mended(pair: str, module: str) -> None:
    (spec,) = specs("small", pair=pair)
    started = [sys.executable, "-m", module]
    place = ["--host", "127.0.0.1", "--port", "8123"]
    assert server.command(spec, 8123) == [*started, *spec.flags, *place]


@pytest.mark.parametrize(
    ("roles", "places"),
    [
        (("large", "small"), {"large": ("0", "1"), "small": ("2",)}),
        (
            ("large", "eagle3", "small"),
            {"large": ("0", "1"), "eagle3": ("2", "3"), "small": ("4",)},
        ),
        (("small",), {"small": ("0",)}),
    ],
)
def test_engines_share_no_card(roles: tuple[str, ...], places: dict[str, tuple[str, ...]]) -> None:
    assert server.place(specs(*roles, pair="qwen3"), cards(8)) == places


def test_engines_on_the_cpu_take_no_card() -> None:
    assert server.place(specs("large", "small"), []) == {"large": (), "small": ()}


def test_too_few_cards_are_counted_in_one_line() -> None:
    with pytest.raises(UserError) as caught:
        server.place(specs("large", "eagle3", "small", pair="qwen3"), cards(4))
    assert str(caught.value) == (
        "the engines need 5 GPUs (large 2, eagle3 2, small 1), there are 4; "
        "CUDA_VISIBLE_DEVICES, where it is set, names those that may be used"
    )


def test_too_few_cards_are_noticed_before_a_server_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    wanted = specs("large", pair="qwen3")
    with (
        pytest.raises(UserError, match=r"need 2 GPUs \(large 2\), there are 1;"),
        server.running(wanted, load(Path("params.yaml")).engines, tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("2,3", ["2", "3"]),
        (" GPU-5a, GPU-7f", ["GPU-5a", "GPU-7f"]),
        ("", []),
        ("1,-1,2", ["1"]),
    ],
)
def test_cards_that_were_allotted_are_those_that_are_used(
    monkeypatch: pytest.MonkeyPatch, given: str, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert server.visible_cards() == names


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("GPU 0: NVIDIA A100 (UUID: GPU-5a)\nGPU 1: NVIDIA A100 (UUID: GPU-7f)", ["0", "1"]),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", []),
    ],
)
def test_without_an_allotment_all_cards_of_the_machine_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, names: list[str]
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{listed}\nEND\n")
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert server.visible_cards() == names


def test_a_machine_without_the_driver_has_no_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert server.visible_cards() == []


def test_each_role_gets_a_server_with_its_own_model() -> None:
    assert [(s.role, s.served.model) for s in specs("large", "small")] == [
        ("large", "demo_pair/large"),
        ("small", "demo_pair/small"),
    ]


def test_an_engine_that_plays_two_roles_is_started_once() -> None:
    assert [spec.role for spec in specs("large", "large")] == ["large"]


def test_the_server_allows_the_requests_of_a_relay() -> None:
    (spec,) = specs("large")
    flags = dict(zip(spec.flags, spec.flags[1:], strict=False))
    assert int(spec.environment["VLLM_MAX_STOP_STRINGS"]) > 80
    assert int(flags["--max-num-batched-tokens"]) >= int(flags["--max-model-len"])
    assert flags["--max-num-seqs"] == "3"
    assert "--enable-prefix-caching" in spec.flags


def test_free_port_gives_a_wanted_port_or_refuses() -> None:
    port = server.free_port(None)
    assert server.free_port(port) == port
    with socket.socket() as taken:
        taken.bind((server.HOST, port))
        with pytest.raises(UserError, match=f"port {port} .* is taken"):
            server.free_port(port)


def test_the_last_error_of_a_log_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("starting\nValueError: no\nshutting down\n")
    assert server.last_error(log) == "ValueError: no"
    log.write_text("")
    assert server.last_error(log) == "no output"


def test_a_draft_head_is_served_with_its_model() -> None:
    (spec,) = specs("eagle3")
    flags = dict(zip(spec.flags, spec.flags[1:], strict=False))
    assert flags["--model"] == "demo_pair/large"
    assert json.loads(flags["--speculative-config"]) == {
        "method": "eagle3",
        "model": "demo_pair/eagle3",
        "num_speculative_tokens": 3,
    }


def test_a_model_that_is_not_there_starts_no_server(tmp_path: Path) -> None:
    (spec,) = specs("small")
    wanted = [replace(spec, served=Model(model="no/model"))]
    with (
        pytest.raises(UserError, match=r"engine 'small': no model in no/model \(no config\.json\)"),
        server.running(wanted, load(Path("params.yaml")).engines, tmp_path),
    ):
        pass


def test_an_engine_uses_its_own_threads_whatever_the_job_was_given() -> None:
    (spec,) = specs("large")
    threads = [spec.environment[f"{library}_NUM_THREADS"] for library in ("OMP", "MKL")]
    assert threads == [str(load(Path("params.yaml")).engines.cpu_threads)] * 2
