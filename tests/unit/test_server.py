"""How servers are started, without starting one."""

import socket
import subprocess
import sys
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from stages.config.params import load
from stages.config.schema import Model
from stages.engine import server
from stages.engine.spec import HOST
from stages.runtime.errors import UserError
from tests.unit.conftest import engine_specs

pytestmark = pytest.mark.unit


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    wanted = engine_specs("large", pair="qwen3")
    with (
        pytest.raises(UserError, match=r"need 2 GPUs \(large 2\), there are 1;"),
        server.running(wanted, load(Path("params.yaml")).engines, tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there_starts_no_server(tmp_path: Path) -> None:
    (spec,) = engine_specs("small")
    wanted = [replace(spec, served=Model(model="no/model"))]
    with (
        pytest.raises(UserError, match=r"engine 'small': no model in no/model \(no config\.json\)"),
        server.running(wanted, load(Path("params.yaml")).engines, tmp_path),
    ):
        pass


def test_free_port_gives_a_wanted_port_or_refuses() -> None:
    port = server.free_port(None)
    assert server.free_port(port) == port
    with socket.socket() as taken:
        taken.bind((HOST, port))
        with pytest.raises(UserError, match=f"port {port} .* is taken"):
            server.free_port(port)


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


def test_the_last_error_of_a_log_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("starting\nValueError: no\nshutting down\n")
    assert server.last_error(log) == "ValueError: no"
    log.write_text("")
    assert server.last_error(log) == "no output"
