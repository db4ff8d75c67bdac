"""`relaygen pair check --probe` from engines to plan and replay, on scripted servers."""

import re
from pathlib import Path

import pytest

from stages.analysis.probed import read
from tests.end_to_end.conftest import checkout, relaygen, succeed

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A checkout in which the demo pair was probed, and what was printed."""
    folder = checkout(tmp_path_factory.mktemp("probe"))
    command = ("python", "-m", "stages.runtime.main", "pair", "check", "demo", "--probe")
    return folder, succeed(folder, *command)


def test_each_engine_the_hand_off_and_the_cache_have_a_line(probed: tuple[Path, str]) -> None:
    folder, said = probed
    for role in ("large", "eagle3", "draft", "small"):
        assert re.search(rf"{role}: [\d.]+ tokens/s alone, [\d.]+ with 16 in flight", said)
    assert re.search(r"hand-off: [\d.]+ ms", said)
    assert re.search(r"ok +prefix cache: \d+ % of the tokens handed over were in it", said)
    found = read(folder / "results/demo/probe.json")
    assert set(found.acceptance_length) == {"eagle3", "draft"}


def test_the_plan_takes_the_speeds(probed: tuple[Path, str]) -> None:
    said = relaygen(probed[0], "plan").stdout
    assert "measured on pair demo, taken before what is assumed below: ms a token" in said
    assert "results/demo/probe.json" in said


def test_a_replay_predicts_a_speedup_from_them(probed: tuple[Path, str]) -> None:
    folder = probed[0]
    (folder / "t.jsonl").write_text('{"text": "Now 1 + 1 = 2. So the sum is 2.\\n</think>2"}\n')
    traces = ("--traces", "t.jsonl", "--tokenizer", "demo_pair/large", "--cues", "all")
    said = relaygen(folder, "replay", *traces, "--speeds", "results/demo/probe.json").stdout
    assert "predicted speedup" in said


def test_nothing_is_out_of_date_because_of_it(probed: tuple[Path, str]) -> None:
    assert "probe" not in relaygen(probed[0], "status").stdout
