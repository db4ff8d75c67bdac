"""A pair's speeds, measured before a run: arithmetic, verdicts, and where they count."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from stages.analysis.probed import Probe, path_of, read, speeds_given
from stages.analysis.replay import Speeds
from stages.config.params import load
from stages.config.schema import File, Params
from stages.generation import latency
from stages.methods.base import Completion, Setting
from stages.perf.probe import Exchange, findings, first_problems, probe
from stages.planning.measured import Measured, measured, shapes
from stages.runtime.errors import UserError
from stages.runtime.main import app
from stages.tracking.files import write_text

pytestmark = pytest.mark.unit
PARAMS = load(Path("params.yaml"))
FAST = Probe(
    engines=shapes(PARAMS, "demo"),
    tokens_per_s={"large": 20.0, "eagle3": 40.0, "draft": 40.0, "small": 100.0},
    tokens_per_s_at_once={"large": 128.0, "eagle3": 128.0, "draft": 128.0, "small": 800.0},
    in_flight=16,
    handoff_ms=20.0,
    cached_percent=90.0,
    acceptance_length={"eagle3": 2.5, "draft": 2.0},
    other_load=0.0,
    machine={},
)


def changed(**values: Any) -> Probe:
    return FAST.model_copy(update=values)


def speeds(**values: float) -> Probe:
    return changed(tokens_per_s={**FAST.tokens_per_s, **values})


# What is measured.


def test_both_models_write_in_turns() -> None:
    setting = Setting([1, 2], budget=48, decode=lambda ids: "", encode=lambda text: [])
    machine = Exchange().start(setting)
    asked = []
    for completion in (
        Completion([3, 4], "", "length"),
        Completion([5], "", "length"),
        Completion([6], "", "length"),
    ):
        request = machine.next_request()
        assert request
        asked.append((request.engine, request.prompt_ids, request.max_tokens))
        machine.feed(completion, 1.0)
    assert machine.next_request() is None
    assert asked == [
        ("large", [1, 2], 16),
        ("small", [1, 2, 3, 4], 16),
        ("large", [1, 2, 3, 4, 5], 16),
    ]
    assert (machine.answer.n_switches, machine.answer.token_ids) == (2, [3, 4, 5, 6])


def test_a_file_may_have_fewer_problems_than_are_asked(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"problem": "1 + 1?", "answer": 2}\n')
    own = File(source="file", path=str(file), scoring="math")
    changes = {"benchmarks": {"own": own}, "speed_benchmark": "own"}
    pairs = {"demo": PARAMS.pair("demo").model_copy(update=changes)}
    problems = first_problems(PARAMS.model_copy(update={"pairs": pairs}), "demo")
    assert len(problems) == 1


def row(method: str, large: int, small: int, wall_s: float, **more: int) -> dict[str, Any]:
    """A row of latency.parquet, as far as a probe reads it."""
    counted = {"prompt_tokens": 100, "cached_tokens": 0, "drafts": 0, "accepted": 0} | more
    tokens = {"large_tokens": large, "small_tokens": small, "n_switches": 0} | counted
    return {"method": method, "problem_id": 1, "repeat": 0, "wall_s": wall_s, "other_load": 0.5,
            **tokens}  # fmt: skip


def test_a_hand_off_takes_what_an_exchange_takes_beyond_its_tokens() -> None:
    rows = [
        row("large", 100, 0, 5.0),
        row("small", 0, 100, 1.0),
        row("eagle3", 100, 0, 2.0, drafts=40, accepted=60),
        # 50 tokens of 50 ms and 50 of 10 ms are 3 s; the rest is that of 10 hand-offs.
        row("exchange", 50, 50, 3.2, n_switches=10, cached_tokens=80),
    ]
    schema = {key: kind for key, kind in latency.SCHEMA.items() if key in rows[0]}
    frame = pl.DataFrame(rows, schema=schema)
    found = probe(frame, dict.fromkeys(("large", "small", "eagle3"), 64.0), {}, {})
    assert found.handoff_ms == pytest.approx(20)
    assert found.tokens_per_s == pytest.approx({"large": 20, "small": 100, "eagle3": 50})
    assert found.cached_percent == 80
    assert found.acceptance_length == {"eagle3": 2.5}
    assert found.other_load == 0.5


def test_a_measurement_needs_a_pair_of_params_yaml() -> None:
    models = ["--large", "demo_pair/large", "--small", "demo_pair/small"]
    result = CliRunner().invoke(app, ["pair", "check", *models, "--probe"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: --probe goes with a pair of params.yaml")


# What it means.


def test_each_value_has_a_line() -> None:
    lines = list(findings(FAST))
    assert [line.verdict for line in lines] == ["ok"] * 8
    assert lines[0].text == "large: 20.0 tokens/s alone, 128.0 with 16 in flight"
    # A token of the small model saves 40 ms.
    assert lines[4].text.endswith(
        "20.0 ms; there and back pays from 1 tokens of the small model on"
    )
    assert lines[6].text == "eagle3: 2.50 tokens a step, 2.00 times the large model's speed"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (changed(cached_percent=0.0), "the relay cannot pay"),
        (changed(cached_percent=20.0), "the rest is read again at each hand-off"),
        (changed(handoff_ms=2000.0), "from 100 tokens of the small model on, and a sentence has"),
        (speeds(eagle3=18.0), "alone no faster than the large model"),
        (speeds(small=20.0), "no segment of the small model makes up for"),
        (changed(other_load=1000.0), "measure again on an idle machine"),
    ],
)
def test_what_speaks_against_a_relay_is_to_be_looked_at(found: Probe, message: str) -> None:
    looked_at = [line for line in findings(found) if line.verdict == "look"]
    assert any(message in line.text for line in looked_at)


# Where it counts.


def kept(folder: Path, found: Probe = FAST) -> Path:
    """A folder of results with a probe of the demo pair alone."""
    write_text(path_of(folder, "demo"), found.model_dump_json())
    return folder


def test_the_plan_takes_the_speeds_of_the_engines(tmp_path: Path) -> None:
    found = measured(kept(tmp_path), PARAMS, "demo")
    assert found.ms_per_token == {"large": 50, "eagle3": 25, "draft": 25, "small": 10}
    # 16 x 20 tokens/s would be 320: an answer takes 2.5 times as long beside 15 others.
    assert found.slowdown == pytest.approx(0.1)
    assert found.sources == (str(path_of(tmp_path, "demo")),)


def test_the_plan_takes_the_speeds_of_a_run_before_those_of_a_probe(tmp_path: Path) -> None:
    table = {"pair": ["demo"], "method": ["large"], "speedup": [1.0], "tokens_per_s": [25.0]}
    (tmp_path / "summaries/demo").mkdir(parents=True)
    pl.DataFrame(table).write_csv(tmp_path / "summaries/demo/speed.csv")
    found = measured(kept(tmp_path), PARAMS, "demo").ms_per_token
    assert (found["large"], found["small"]) == (40, 10)


def served_otherwise(params: Params) -> Params:
    """Params in which another model plays the large one."""
    pair = params.pair("demo")
    engines = {**pair.engines, "large": pair.engines["small"]}
    pairs = {**params.pairs, "demo": pair.model_copy(update={"engines": engines})}
    return params.model_copy(update={"pairs": pairs})


def test_the_speed_of_a_model_that_is_served_no_more_does_not_count(tmp_path: Path) -> None:
    found = measured(kept(tmp_path), served_otherwise(PARAMS), "demo")
    assert "large" not in found.ms_per_token
    assert found.slowdown is None


def test_a_probe_of_other_engines_alone_does_not_count(tmp_path: Path) -> None:
    assert measured(kept(tmp_path, changed(engines={})), PARAMS, "demo") == Measured()


def test_a_replay_takes_its_three_values_from_a_probe(tmp_path: Path) -> None:
    file = path_of(kept(tmp_path), "demo")
    assert speeds_given(file, None, None, None) == Speeds(20, 100, 20)
    with pytest.raises(UserError, match="--speeds stands for --large-tps"):
        speeds_given(file, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("content", [None, "{}", "["])
def test_a_file_that_is_no_probe_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "probe.json"
    if content:
        file.write_text(content)
    with pytest.raises(UserError, match=r"probe\.json: no.* `relaygen pair check PAIR --probe`"):
        read(file)
