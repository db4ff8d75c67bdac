"""The console command `relaygen`: what it prints, how it fails, and how fast it is there."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from typer.testing import CliRunner, Result

from stages import perf, replay
from stages.methods.matching import CueMatching
from stages.runtime import main as console

pytestmark = pytest.mark.unit

COMMANDS = ["check", "plan", "replay", "provenance", "bench"]
SLOW_IMPORTS = {"numpy", "polars", "pydantic", "rich", "yaml", "stages.config.params"}


@pytest.fixture(autouse=True)
def argv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the command line of pytest as it is."""
    monkeypatch.setattr(sys, "argv", sys.argv)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(console.app, arguments, prog_name="relaygen")


def complete(words: str) -> list[str]:
    """What bash offers for the last of `words`."""
    environment = {
        **os.environ,
        "_RELAYGEN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    command = [sys.executable, "-m", "stages.runtime.main"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.split()


def leaves() -> list[list[str]]:
    """Every command, as it is typed."""
    groups = [["bench", name] for name in (*perf.TESTS, "table")]
    return [[name] for name in COMMANDS if name != "bench"] + groups


def test_help_lists_every_command() -> None:
    shown = call("--help").output
    assert [name for name in COMMANDS if f"\n  {name} " in shown] == COMMANDS


@pytest.mark.parametrize("path", [[], ["bench"], *leaves()], ids=" ".join)
def test_every_help_has_an_example_that_can_be_typed(path: list[str]) -> None:
    shown = call(*path, "--help")
    assert shown.exit_code == 0
    assert f"  Examples:\n    {' '.join(['relaygen', *path])}" in shown.output


def test_help_imports_nothing_that_is_slow() -> None:
    code = "import sys; from stages.runtime.main import app\ntry: app(['--help'])\n"
    code += "finally: print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert SLOW_IMPORTS.isdisjoint(result.stderr.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("relaygen pl", ["plan"]),
        ("relaygen bench th", ["throughput"]),
        ("relaygen replay --matching sub", ["substring"]),
    ],
)
def test_bash_completes_the_names_of_commands_and_choices(words: str, offered: list[str]) -> None:
    assert complete(words) == offered


def test_check_says_that_params_are_valid() -> None:
    assert call("check").output == "params.yaml: valid\n"


def test_what_the_user_can_mend_is_one_line_and_exit_code_1() -> None:
    result = call("check", "--params", "nowhere.yaml")
    assert result.exit_code == 1
    assert result.stderr == "error: nowhere.yaml: no such file; run from the project's root\n"


def test_a_command_of_another_checkout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stages").mkdir()
    monkeypatch.chdir(tmp_path)
    result = call("check")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: this relaygen is that of {Path(__file__).parents[2]}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "--parms", "x"], "No such option: --parms"),
        (["pln"], "No such command 'pln'. Did you mean 'plan'?"),
        (["provenance"], "Missing argument 'FILE'"),
        (["plan", "--json", "--commands"], "not allowed with argument"),
    ],
)
def test_a_command_line_that_makes_no_sense_ends_with_exit_code_2(
    arguments: list[str], message: str
) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_plan_passes_its_options_on() -> None:
    plans = json.loads(call("plan", "--pair", "demo", "--json").output)["pairs"]
    assert list(plans) == ["demo"]


def test_replay_prints_what_its_module_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = tmp_path / "traces.jsonl"
    traces.write_text(json.dumps({"text": "Let me see. Thus we add. So done.</think>4"}) + "\n")
    options = ["--traces", str(traces), "--tokenizer", "demo_pair/large", "--cues", "all"]
    options += ["--min-tokens", "0", "--large-tps", "25", "--small-tps", "180"]
    options += ["--handoff-ms", "30", "--json"]
    monkeypatch.setattr(sys, "argv", ["replay", *options])
    replay.main()
    assert call("replay", *options).output == capsys.readouterr().out


def test_replay_knows_every_way_of_matching() -> None:
    choices, _ = get_args(get_type_hints(console.replay)["matching"])
    assert get_args(choices) == get_args(CueMatching)


def test_provenance_names_a_file_that_is_none_of_ours() -> None:
    result = call("provenance", "README.md")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: README.md: no ")


def test_every_performance_test_is_a_module() -> None:
    assert all(find_spec(f"stages.perf.{name}") for name in perf.TESTS)


def test_the_table_of_no_results_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "BENCH", tmp_path)
    result = call("bench", "table")
    assert result.exit_code == 1
    assert "run a test first" in result.stderr


def test_the_table_holds_the_results_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "BENCH", tmp_path)
    measured = {"what": "time", "unit": "s", "values": [1.5], "median": 1.5, "goal": ""}
    machine = {"hardware": {"cpu": "A CPU", "cores": 2}, "memory_gb": 16, "started": "2026-01-02"}
    result = {"title": "Mining", "measurements": [measured], "machine": machine}
    (tmp_path / "mining.json").write_text(json.dumps(result))
    out = tmp_path / "table.md"
    assert "| Mining | time | 1.5 s |" in call("bench", "table", "--out", str(out)).output
    assert "| Mining | time | 1.5 s |" in out.read_text()
