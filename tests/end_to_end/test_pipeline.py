"""The whole pipeline with scripted servers, through both entrances: what comes out of it."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
import yaml

from stages.analysis.cue_sets import cue_set
from stages.analysis.replay import read_tokenizer
from stages.methods.base import Marks
from stages.methods.offline import replay, setting
from stages.tracking.notes import read_provenance
from tests.end_to_end.conftest import STORE, TABLES, Resumed, relaygen, run, succeed

pytestmark = pytest.mark.end_to_end

ACCURACY_COLUMNS = [
    "pair", "method", "benchmark", "pass_at_1", "ci_low", "ci_high", "sem", "n_problems",
    "n_repeats", "pass_at_k", "majority_at_k", "mean_tokens", "large_utilization", "cut_percent",
    "no_answer_percent", "paper",
]  # fmt: skip
CUE_COLUMNS = [
    "cue", "n_segments", "n_traces", "n_tokens", "mean_margin", "sd", "sem", "other_mean", "delta",
    "ci_low", "ci_high", "selected",
]  # fmt: skip
SPEED_COLUMNS = [
    "pair", "method", "speedup", "speedup_sd", "ci_low", "ci_high", "large_utilization",
    "large_utilization_sd", "tokens_per_s", "acceptance_length", "handoff_ms", "bound",
    "bound_percent", "large_ms", "small_ms", "between_ms",
    "cached_percent", "other_load", "n_problems", "n_runs", "paper_speedup", "paper_speedup_sd",
    "paper_large_utilization", "paper_large_utilization_sd",
]  # fmt: skip
FIGURES = (
    "margins",
    "cues",
    "accuracy",
    "tokens",
    "speed",
    "pareto",
    "acceptance",
    "timeline",
    "throughput",
)


def without_times(path: Path) -> pl.DataFrame:
    """Answers less what a clock measured, and what the engine had at hand when it was asked."""
    return pl.read_parquet(path).drop("wall_s", "segments", "cached_tokens")


def test_accuracy_has_every_method_and_benchmark_with_intervals(repro: Path) -> None:
    table = pl.read_csv(repro / "results/tables/accuracy.csv")
    assert table.columns == ACCURACY_COLUMNS
    assert len(table) == 12
    assert (table["ci_low"] <= table["pass_at_1"]).all()
    assert (table["pass_at_1"] <= table["ci_high"]).all()
    assert table["paper"].null_count() == 12


def test_all_methods_are_asked_on_shared_engines_before_each_has_its_stage(repro: Path) -> None:
    with_engines = {folder.name for folder in (repro / "logs/demo").iterdir() if folder.is_dir()}
    assert {name for name in with_engines if name.startswith(("together", "infer"))} == {
        "together-large+small-0",
        "together-eagle3+small-0",
    }


def test_the_relay_uses_the_mined_cues(repro: Path) -> None:
    cues = pl.read_csv(repro / "results/demo/cues.csv")
    assert cues.columns == CUE_COLUMNS
    mined = cues.filter("selected")["cue"].to_list()
    assert mined
    used = yaml.safe_load((repro / "results/demo/cue_sets/relaygen.yaml").read_text())["cues"]
    assert sorted(used) == sorted(mined)
    answers = pl.read_parquet(repro / "results/demo/generations/relaygen/chains_long.parquet")
    fired = answers["segments"].explode().struct.field("cue").drop_nulls().unique().to_list()
    assert fired
    assert set(fired) <= set(mined)


def test_the_traces_are_replayed_with_the_mined_cues(repro: Path) -> None:
    values = json.loads((repro / "results/demo/replay.json").read_text())
    traces = pl.read_parquet(repro / "results/demo/traces.parquet")
    assert values["n_traces"] == len(traces)
    assert values["handoffs"] > 0
    # An end of text inside the reasoning is nobody's token.
    unfinished = (traces["reasoning_tokens"] == traces["n_tokens"]).sum()
    replayed = values["large_tokens"] + values["small_tokens"]
    assert 0 <= traces["n_tokens"].sum() - replayed <= unfinished


def test_speed_has_every_method_and_what_only_some_have(repro: Path) -> None:
    table = pl.read_csv(repro / "results/tables/speed.csv")
    assert table.columns == SPEED_COLUMNS
    speed = {row["method"]: row for row in table.iter_rows(named=True)}
    assert list(speed) == ["small", "large", "relaygen", "relaygen_eagle3"]
    assert speed["large"]["speedup"] == 1
    assert speed["relaygen_eagle3"]["acceptance_length"] > 1
    assert speed["relaygen"]["acceptance_length"] is None
    assert speed["relaygen"]["bound"] > 0
    assert speed["large"]["bound"] is None


def test_every_method_stands_beside_the_large_model_on_its_hardware(repro: Path) -> None:
    table = pl.read_csv(repro / "results/tables/throughput.csv")
    levels = table.select("method", "replicas", "in_flight").rows()
    methods = [("small", 1), ("large", 1), ("relaygen", 1), ("relaygen_eagle3", 1), ("large", 2)]
    assert levels == [(*one, n) for one in methods for n in (1, 3)]
    beside = dict(table.select("method", "large_replicas").rows())
    assert beside == {"small": 1, "large": 2, "relaygen": 2, "relaygen_eagle3": 2}
    assert table.filter(method="large")["against_large"].to_list() == [1.0] * 4


def test_the_ablation_sets_variants_beside_the_relay(repro: Path) -> None:
    table = pl.read_csv(repro / "results/tables/cue_ablation.csv")
    assert table["cue_set"].to_list() == ["relaygen", "all_candidates"]
    assert table["benchmark"].unique().to_list() == ["chains_long"]


def test_the_answer_stage_is_compared_on_every_benchmark(repro: Path) -> None:
    table = pl.read_csv(repro / "results/tables/answer_stage.csv")
    assert table["benchmark"].to_list() == ["chains_short", "chains_long", "chains_choice"]
    assert table["consistent_percent"].is_between(0, 100).all()


def test_margins_cover_every_token_of_prompt_and_reasoning(repro: Path) -> None:
    margins = pl.read_parquet(repro / "results/demo/margins.parquet")
    traces = pl.read_parquet(repro / "results/demo/traces.parquet")
    wanted = (
        traces.select(pl.col("prompt_ids").list.len() + pl.col("reasoning_tokens")).sum().item()
    )
    assert len(margins) == wanted
    assert margins.filter(pl.col("position") > 0)["margin"].is_between(0, 1).all()


def test_replaying_the_relays_own_answers_gives_their_segments(repro: Path) -> None:
    tokenizer = read_tokenizer(repro / "results/demo/problems")
    cues = cue_set(str(repro / "results/demo/cue_sets/relaygen.yaml"))
    rules = setting(tokenizer, cues, min_tokens=5, marks=Marks())
    compared = 0
    for file in (repro / "results/demo/generations/relaygen").glob("*.parquet"):
        for row in pl.read_parquet(file).iter_rows(named=True):
            # A token that only a cue's trailing blank reached into is not in the record.
            if not any((part["cue"] or "").endswith(" ") for part in row["segments"]):
                answer = replay(row["token_ids"], tokenizer, rules)
                parts = [{**asdict(part), "wall_s": 0} for part in answer.segments]
                assert parts == [{**part, "wall_s": 0} for part in row["segments"]]
                compared += 1
    assert compared


def test_figures_and_report_are_written(repro: Path) -> None:
    for name in FIGURES:
        assert (repro / f"results/figures/demo-{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (repro / f"results/figures/demo-{name}.png").read_bytes().startswith(b"\x89PNG")
    report = (repro / "results/report.html").read_text()
    assert report.count("data:image/png;base64,") == len(FIGURES)
    assert "http" not in report.replace("http-equiv", "")


def test_every_table_and_figure_says_where_it_came_from(repro: Path) -> None:
    patterns = [
        *("tables/*.csv", "tables/*.md", "tables/*.tex", "figures/*.pdf", "*/cues.csv"),
        *("demo/*.parquet", "excerpts/*.json", "report.html"),
    ]
    files = [
        file
        for pattern in patterns
        for file in (repro / "results").glob(pattern)
        if not file.name.endswith(".provenance.json")
    ]
    assert len(files) > 20
    assert [file for file in files if not read_provenance(file)] == []
    shown = relaygen(repro, "provenance", "results/tables/accuracy.tex")
    content = yaml.safe_load(shown.stdout)
    assert content["in common"]["engine"].startswith("vllm")
    assert "results/demo/generations/relaygen/chains_long.parquet" in content


def test_nothing_is_left_half_written(repro: Path) -> None:
    assert not list((repro / "results").rglob("*.tmp"))
    assert not list((repro / STORE).rglob("*.tmp"))


def test_both_entrances_give_the_same_tables(repro: Path, resumed: Resumed) -> None:
    for table in TABLES:
        assert (repro / table).read_bytes() == (resumed.folder / table).read_bytes()


def test_a_killed_and_resumed_run_gives_the_answers_of_an_undisturbed_one(
    repro: Path, resumed: Resumed
) -> None:
    for answers in (repro / "results/demo/generations").rglob("*.parquet"):
        twin = resumed.folder / answers.relative_to(repro)
        assert without_times(answers).equals(without_times(twin))


def test_a_resumed_run_keeps_the_answers_it_had(resumed: Resumed) -> None:
    folder = resumed.folder / "results/demo/generations/relaygen"
    walls = {wall for file in folder.glob("*.parquet") for wall in pl.read_parquet(file)["wall_s"]}
    assert {answer["wall_s"] for answer in resumed.kept} <= walls


def test_a_killed_run_leaves_no_process(resumed: Resumed) -> None:
    assert resumed.left == []


def test_a_finished_snakemake_run_has_nothing_to_do(resumed: Resumed) -> None:
    result = run(resumed.folder, "snakemake", "--cores", "2", "-n")
    assert "Nothing to be done" in result.stdout + result.stderr


def test_the_same_traces_as_texts_give_the_same_cues(repro: Path, tmp_path: Path) -> None:
    prompts = pl.read_parquet(repro / "results/demo/problems/chains_calibration.parquet")
    traces = pl.read_parquet(repro / "results/demo/traces.parquet")
    given = tmp_path / "traces.jsonl"
    with given.open("w", encoding="utf-8") as file:
        for row in traces.join(prompts, "problem_id", maintain_order="left").iter_rows(named=True):
            messages = [{"role": "user", "content": row["prompt"]}]
            file.write(json.dumps({"messages": messages, "text": row["text"]}) + "\n")
    arguments = ("--traces", str(given), "--small", "demo_pair/small", "--out", str(tmp_path))
    succeed(repro, "python", "-m", "stages.mine", *arguments, "--family", "demo")
    assert (tmp_path / "cues.csv").read_bytes() == (repro / "results/demo/cues.csv").read_bytes()
    assert json.loads((tmp_path / "replay.json").read_text()) == json.loads(
        (repro / "results/demo/replay.json").read_text()
    )


def test_a_run_shows_a_line_per_stage_and_what_came_out(repro: Path) -> None:
    lines = relaygen(repro, "run").stdout.splitlines()
    assert len(lines) < 60
    assert any("stages were up to date" in line for line in lines)
    assert any(line.startswith("RelayGen + Eagle-3 ") for line in lines)
    assert "report: results/report.html" in lines[-1]
    assert "Stage 'report' didn't change" in (repro / "logs/run.log").read_text()


def test_an_answer_is_shown_with_its_verdict(repro: Path) -> None:
    shown = relaygen(repro, "show", "relaygen", "chains_long", "0").stdout
    assert "cue: " in shown
    assert re.search("^RelayGen: (right|wrong); answer: ", shown, re.MULTILINE)
