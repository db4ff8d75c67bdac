"""How servers are started, without starting one."""

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from stages.config.params import load
from stages.config.schema import Model
from stages.engine import compiler, gpus, models, server
from stages.engine.spec import HOST, EngineSpec
from stages.runtime.errors import UserError
from tests.unit.conftest import engine_specs

pytestmark = pytest.mark.unit

ENGINES = load(Path("params.yaml")).engines


class Healthy(BaseHTTPRequestHandler):
    """A server that is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


class Running(subprocess.Popen[bytes]):
    """A server's process that goes on."""

    def __init__(self) -> None:
        """Start nothing."""

    def poll(self) -> int | None:
        return None

    def __del__(self) -> None:
        """Wait for nothing."""


@pytest.mark.parametrize(
    ("pair", "module"),
    [("demo", "stages.engine.serve"), ("qwen3", "vllm.entrypoints.openai.api_server")],
)
def test_only_vllm_for_cpus_is_fixed(pair: str, module: str) -> None:
    (spec,) = engine_specs("small", pair=pair)
    started = [sys.executable, "-m", module]
    place = ["--host", "127.0.0.1", "--port", "8123"]
    assert server.command(spec, 8123) == [*started, *spec.flags, *place]


def test_too_few_gpus_are_noticed_before_a_server_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nvidia_smi: Callable[[str], None]
) -> None:
    monkeypatch.setattr(gpus, "LOCKS", tmp_path / "locks")
    nvidia_smi("0, GPU-5a2b91c0-0000-0000-0000-000000000000, 580.65.06, [N/A]")
    monkeypatch.setattr(compiler, "check", lambda: None)
    (spec,) = engine_specs("large", pair="qwen3")
    wanted = [replace(spec, served=Model(model="demo_pair/large", gpus=2))]
    with (
        pytest.raises(UserError, match=r"need 2 GPUs \(large 2\), there are 1;"),
        server.running(wanted, load(Path("params.yaml")).engines, tmp_path / "logs"),
    ):
        pass
    assert list((tmp_path / "logs").iterdir()) == []


def test_models_are_fetched_before_gpus_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(served: Model) -> None:
        raise UserError(f"fetching {served.model}")

    monkeypatch.setattr(models, "fetch_whole", fetch)
    monkeypatch.setattr(gpus, "held", lambda _: pytest.fail("GPUs are held"))
    with (
        pytest.raises(UserError, match="fetching Qwen/Qwen3-32B"),
        server.running(engine_specs("large", pair="qwen3"), ENGINES, tmp_path),
    ):
        pass


def test_a_model_that_is_not_there_starts_no_server(tmp_path: Path) -> None:
    (spec,) = engine_specs("small")
    wanted = [replace(spec, served=Model(model="no/model"))]
    with (
        pytest.raises(UserError, match=r"engine 'small': no model in no/model \(no config\.json\)"),
        server.running(wanted, load(Path("params.yaml")).engines, tmp_path),
    ):
        pass


def test_too_few_open_files_are_noticed_before_a_server_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with (
        pytest.raises(UserError, match=r"may open 64 files here \(ulimit -n\), engines need 131"),
        server.running(engine_specs("small"), load(Path("params.yaml")).engines, tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_reserved_port_is_given_to_nobody_else_but_the_server_can_bind_it() -> None:
    with server.reserved(None) as port, server.reserved(None) as other:
        assert port != other
        with socket.socket() as anybody, pytest.raises(OSError, match="in use"):
            anybody.bind((HOST, port))
        with socket.socket() as served, socket.socket() as client:
            served.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as vLLM's is
            served.bind((HOST, port))
            served.listen()
            client.connect((HOST, port))


def test_a_wanted_port_is_reserved_or_refused() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(UserError, match=f"port {port} .* is taken; change engines.base_port"),
            server.reserved(port),
        ):
            pass
    with server.reserved(port) as own:
        assert own == port


# Finds its port taken at its first start, and serves at the next.
UNLUCKY = """
import http.server, os, pathlib, sys, time
before = pathlib.Path(sys.argv[1])
print("in", os.environ["TMPDIR"], os.environ["VLLM_RPC_BASE_PATH"], flush=True)
if not before.exists():
    before.touch()
    sys.exit("OSError: [Errno 98] Address already in use")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""


@pytest.fixture
def own_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Servers that run UNLUCKY; the file that it leaves at its first start."""
    before = tmp_path / "before"

    def command(_: EngineSpec, port: int) -> list[str]:
        return [sys.executable, "-c", UNLUCKY, str(before), str(port)]

    monkeypatch.setattr(server, "command", command)
    return before


def test_a_server_whose_port_was_taken_is_started_again(own_program: Path, tmp_path: Path) -> None:
    engines = load(Path("params.yaml")).engines
    with server.running(engine_specs("small"), engines, tmp_path / "logs") as started:
        assert httpx.get(started["small"].url).status_code == httpx.codes.OK
    assert not started["small"].alive


def test_a_servers_temporary_files_are_its_own_and_gone_with_it(
    own_program: Path, tmp_path: Path
) -> None:
    own_program.touch()
    engines = load(Path("params.yaml")).engines
    with server.running(engine_specs("small"), engines, tmp_path) as started:
        _, folder, sockets = started["small"].log_file.read_text().split()[:3]
        assert folder == sockets
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


# A server that says that it routes tokens if its vLLM would find the plugin.
ROUTING = """
import http.server, sys
from importlib.metadata import entry_points
for one in entry_points(group="vllm.general_plugins", name="relaygen_routing"):
    print("Tokens can be routed by:", one.value, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def routing_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that run ROUTING."""

    def command(_: EngineSpec, port: int) -> list[str]:
        return [sys.executable, "-c", ROUTING, str(port)]

    monkeypatch.setattr(server, "command", command)


@pytest.mark.usefixtures("routing_program")
@pytest.mark.parametrize(("routers", "says"), [(("entropy",), True), ((), False)])
def test_only_an_engine_with_routers_finds_the_plugin(
    routers: tuple[str, ...], says: bool, tmp_path: Path
) -> None:
    wanted = [replace(spec, routers=routers) for spec in engine_specs("small")]
    with server.running(wanted, ENGINES, tmp_path) as started:
        said = started["small"].log_file.read_text()
    assert ("stages.engine.routing:install" in said) == says


@pytest.mark.usefixtures("routing_program")
def test_an_engine_that_is_to_route_tokens_without_the_plugin_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server, "PLUGIN", tmp_path / "a/b/c/no")
    wanted = [replace(spec, routers=("entropy",)) for spec in engine_specs("small")]
    with (
        pytest.raises(UserError, match="'small' cannot route tokens: it runs without the plugin"),
        server.running(wanted, ENGINES, tmp_path),
    ):
        pass


def test_the_environments_proxies_and_certificates_do_not_concern_a_server_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    with HTTPServer((HOST, 0), Healthy) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        url = f"http://{HOST}:{http.server_port}"
        engine = server.Engine("small", url, "key", Running(), tmp_path / "log", drafts=False)
        server.wait_ready(engine, time.monotonic() + 5)
        http.shutdown()


def test_a_server_does_not_see_variables_of_vllm_that_no_result_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("VLLM_USE_V2_MODEL_RUNNER", "NCCL_ALGO", "CUDA_DEVICE_ORDER", "HF_HOME"):
        monkeypatch.setenv(name, "x")
    seen = server.inherited()
    assert not {"VLLM_USE_V2_MODEL_RUNNER", "NCCL_ALGO", "CUDA_DEVICE_ORDER"} & set(seen)
    assert seen["HF_HOME"] == "x"


PREFIX = "(EngineCore pid=7) ERROR 11-26 16:13:34 [core.py:1510] "
ROOT = "RuntimeError: The size of tensor a (64) must match the size of tensor b (96)"
CORE_DIED = f"""
(APIServer pid=5) INFO 11-26 16:13:16 [model.py:10] Resolved architecture: Qwen2ForCausalLM
{PREFIX}EngineCore failed to start.
{PREFIX}Traceback (most recent call last):
{PREFIX}    param[: loaded_weight.shape[0]].data.copy_(loaded_weight)
{PREFIX}{ROOT}
Process EngineCore:
Traceback (most recent call last):
    raise e
{ROOT}
Traceback (most recent call last):
    raise RuntimeError(
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{}}
"""


WORKER = "(Worker_TP1 pid=9) ERROR 11-26 16:13:34 [multiproc_executor.py:870] "
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
WORKER_DIED = f"""
{WORKER}WorkerProc failed to start.
{WORKER}Traceback (most recent call last):
{WORKER}    self.worker.load_model()
{WORKER}{OUT_OF_MEMORY}
(Worker_TP0 pid=8) ERROR 11-26 16:13:34 [multiproc_executor.py:870] RuntimeError: [gloo] Connection closed by peer
{PREFIX}Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.
(APIServer pid=5) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{}}
"""  # noqa: E501
FREE = (
    "ValueError: Free memory on device cuda:0 (1.2/79.1 GiB) on startup is less than desired GPU "
    "memory utilization (0.8, 63.3 GiB)."
)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (WORKER_DIED, OUT_OF_MEMORY),
        (f"{PREFIX}{FREE}\n(APIServer pid=5) RuntimeError: Engine core initialization failed. See "
         "root cause above.", FREE),
        (f"{WORKER}torch._inductor.exc.InductorError: CalledProcessError: Command gcc returned 1\n"
         f"{WORKER}torch.distributed.DistBackendError: NCCL error in: NCCLUtils.cpp",
         "torch._inductor.exc.InductorError: CalledProcessError: Command gcc returned 1"),
        ("starting\nValueError: no\nshutting down\n", "ValueError: no"),
        (CORE_DIED, ROOT),
        (f"{PREFIX}torch.OutOfMemoryError: out of memory.\nbye", "torch.OutOfMemoryError: out of "
         "memory."),
        ("pydantic.ValidationError: 1 error for ModelConfig\n  Value error, max_model_len (9)\n"
         "    For further information", "pydantic.ValidationError: 1 error for ModelConfig Value "
         "error, max_model_len (9)"),
        ("api_server.py: error: unrecognized arguments: --x", "api_server.py: error: unrecognized "
         "arguments: --x"),
        ("(APIServer pid=5) WARNING 11-26 16:13:16 [a.py:1] errors like `OSError: too many`\nbye",
         "bye"),
        ("RuntimeError: Engine core initialization failed. See root cause above.", "RuntimeError: "
         "Engine core initialization failed. See root cause above."),
        (f"ValueError: {'x' * 999}", f"ValueError: {'x' * 288}"),
        ("", "no output"),
    ],
)  # fmt: skip
def test_the_cause_of_a_failure_is_named(text: str, error: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(text)
    assert server.last_error(log) == error
