"""How servers are asked to run, without running one."""

from pathlib import Path

import pytest

from stages.engine import server
from stages.errors import UserError
from stages.params import load

pytestmark = pytest.mark.unit


def specs(
    roles: tuple[str, ...], cores: set[int], monkeypatch: pytest.MonkeyPatch
) -> list[server.EngineSpec]:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: cores)
    params = load(Path("params.yaml"))
    return server.specs(params.pair("demo"), params.engines, roles, concurrency=3)


def test_engines_side_by_side_have_cores_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = specs(("large", "small"), {4, 5, 6}, monkeypatch)
    assert (large.cores, small.cores) == ((4,), (5,))


def test_engines_share_a_core_where_there_is_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [spec.cores for spec in specs(("large", "small"), {0}, monkeypatch)] == [(0,), (0,)]


def test_an_engine_that_plays_two_roles_is_started_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [spec.role for spec in specs(("large", "large"), {0, 1}, monkeypatch)] == ["large"]


def test_the_server_allows_the_requests_of_a_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    (spec,) = specs(("large",), {0, 1}, monkeypatch)
    flags = dict(zip(spec.flags, spec.flags[1:], strict=False))
    assert int(spec.environment["VLLM_MAX_STOP_STRINGS"]) > 80
    assert int(flags["--max-num-batched-tokens"]) >= int(flags["--max-model-len"])
    assert flags["--max-num-seqs"] == "3"
    assert "--enable-prefix-caching" in spec.flags


def test_free_port_gives_a_wanted_port_or_refuses() -> None:
    port = server.free_port(None)
    assert server.free_port(port) == port
    with server.socket.socket() as taken:
        taken.bind((server.HOST, port))
        with pytest.raises(UserError, match=f"port {port} .* is taken"):
            server.free_port(port)


def test_the_last_error_of_a_log_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("starting\nValueError: no\nshutting down\n")
    assert server.last_error(log) == "ValueError: no"
    log.write_text("")
    assert server.last_error(log) == "no output"
