"""The whole pipeline, through both entrances, broken and resumed."""

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
import yaml

from stages.analysis.cue_sets import cue_set
from stages.analysis.replay import read_tokenizer
from stages.analysis.report_page import written
from stages.methods.offline import replay, setting
from stages.tracking.notes import read_provenance
from tests.end_to_end.conftest import Resumed, run

pytestmark = pytest.mark.end_to_end

ACCURACY_COLUMNS = [
    "pair", "method", "benchmark", "pass_at_1", "ci_low", "ci_high", "n_problems", "n_repeats",
    "mean_tokens", "large_utilization", "paper",
]  # fmt: skip
CUE_COLUMNS = [
    "cue", "n_segments", "n_traces", "n_tokens", "mean_margin", "sd", "sem", "other_mean", "delta",
    "ci_low", "ci_high", "selected",
]  # fmt: skip
SPEED_COLUMNS = [
    "pair", "method", "speedup", "speedup_sd", "ci_low", "ci_high", "large_utilization",
    "large_utilization_sd", "tokens_per_s", "acceptance_length", "handoff_ms", "bound",
    "bound_percent", "cached_percent", "other_load", "n_problems", "n_runs", "paper_speedup",
    "paper_speedup_sd",
]  # fmt: skip
TABLES = (
    "results/tables/accuracy.csv",
    "results/tables/accuracy.tex",
    "results/tables/cue_ablation.csv",
    "results/tables/answer_stage.csv",
    "results/demo/cues.csv",
    "results/demo/replay.json",
)
FIGURES = ("margins", "cues", "accuracy", "tokens", "speed", "pareto", "timeline")


def change(folder: Path, old: str, new: str) -> str:
    """Replace a line's text in params.yaml; returns the file as it was."""
    before = (folder / "params.yaml").read_text()
    assert old in before
    (folder / "params.yaml").write_text(before.replace(old, new))
    return before


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


def test_the_relay_uses_the_mined_cues(repro: Path) -> None:
    cues = pl.read_csv(repro / "results/demo/cues.csv")
    assert cues.columns == CUE_COLUMNS
    mined = cues.filter("selected")["cue"].to_list()
    written = yaml.safe_load((repro / "results/demo/recipes/relaygen.yaml").read_text())["cues"]
    assert written == mined
    answers = pl.read_parquet(repro / "results/demo/generations/relaygen/chains_long.parquet")
    fired = answers["segments"].explode().struct.field("cue").drop_nulls().unique().to_list()
    assert fired
    assert set(fired) <= set(mined)


def test_the_traces_are_replayed_with_the_mined_cues(repro: Path) -> None:
    figures = json.loads((repro / "results/demo/replay.json").read_text())
    traces = pl.read_parquet(repro / "results/demo/traces.parquet")
    assert figures["n_traces"] == len(traces)
    assert figures["handoffs"] > 0
    # An end of text inside the reasoning is nobody's token.
    unfinished = (traces["reasoning_tokens"] == traces["n_tokens"]).sum()
    replayed = figures["large_tokens"] + figures["small_tokens"]
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
    cues = cue_set(str(repro / "results/demo/recipes/relaygen.yaml"))
    rules = setting(tokenizer, cues, min_tokens=5)
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
    files = [*written(repro / "results"), *(repro / "results/demo").glob("*.parquet")]
    assert len(files) > 20
    assert [file for file in files if not read_provenance(file)] == []
    result = run(repro, "python", "-m", "stages.provenance", "results/tables/accuracy.tex")
    content = yaml.safe_load(result.stdout)
    assert content["in common"]["engine"].startswith("vllm")
    assert "results/demo/generations/relaygen/chains_long.parquet" in content


def test_nothing_is_left_running_or_half_written(repro: Path) -> None:
    assert not list((repro / "shards").rglob("*.jsonl"))
    assert not list((repro / "results").rglob("*.tmp"))


def test_a_second_repro_is_up_to_date_within_5_seconds(repro: Path) -> None:
    run(repro, "dvc", "repro")
    started = time.monotonic()
    result = run(repro, "dvc", "repro")
    assert "up to date" in result.stdout + result.stderr
    assert "Running stage" not in result.stdout
    assert time.monotonic() - started < 5


def test_changing_the_selection_reruns_cues_and_nothing_before(repro: Path) -> None:
    before = change(repro, "min_delta: 0.0", "min_delta: 0.0001")
    try:
        result = run(repro, "dvc", "repro", "--dry")
    finally:
        (repro / "params.yaml").write_text(before)
    ran = [line.split("'")[1] for line in result.stdout.splitlines() if "Running stage" in line]
    assert "cues@demo" in ran
    assert not {"prepare@demo", "traces@demo", "margins@demo"} & set(ran)


def test_adding_a_method_and_its_module_asks_for_that_methods_answers_alone(repro: Path) -> None:
    line = "  all_cues: {kind: relay, large: large, small: small, cues: all}\ntables:"
    before = change(repro, "tables:", line)
    module = repro / "stages/methods/another.py"
    module.write_text('"""A kind of method."""\n')
    try:
        assert run(repro, "dvc", "repro", "recipe", "ablation_recipe").returncode == 0
        stale = json.loads(run(repro, "dvc", "status", "--json").stdout)
    finally:
        (repro / "params.yaml").write_text(before)
        (repro / "results/demo/recipes/all_cues.yaml").unlink(missing_ok=True)
        module.unlink()
    asks = ("infer", "ablation_infer", "traces", "answer_stage")
    assert [name for name in stale if name.startswith(asks)] == ["infer@demo-all_cues"]


def test_both_entrances_and_two_runs_give_the_same_tables(repro: Path, resumed: Resumed) -> None:
    for table in TABLES:
        assert (repro / table).read_bytes() == (resumed.folder / table).read_bytes()


def test_a_killed_and_resumed_run_gives_the_answers_of_an_undisturbed_one(
    repro: Path, resumed: Resumed
) -> None:
    for answers in (repro / "results/demo/generations").rglob("*.parquet"):
        twin = resumed.folder / answers.relative_to(repro)
        assert without_times(answers).equals(without_times(twin))


def test_a_resumed_job_keeps_the_answers_it_had(resumed: Resumed) -> None:
    folder = resumed.folder / "results/demo/generations/relaygen"
    walls = {wall for file in folder.glob("*.parquet") for wall in pl.read_parquet(file)["wall_s"]}
    assert {answer["wall_s"] for answer in resumed.kept} <= walls


def test_a_finished_snakemake_run_has_nothing_to_do(resumed: Resumed) -> None:
    result = run(resumed.folder, "snakemake", "--cores", "2", "-n")
    assert "Nothing to be done" in result.stdout + result.stderr


def refused(folder: Path, command: tuple[str, ...], old: str, new: str, message: str) -> None:
    """With `old` as `new` in params.yaml, `command` fails with `message` and no table changes."""
    table = (folder / TABLES[0]).read_bytes()
    before = change(folder, old, new)
    try:
        result = run(folder, *command)
    finally:
        (folder / "params.yaml").write_text(before)
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert message in output
    assert "Traceback" not in output
    assert (folder / TABLES[0]).read_bytes() == table


@pytest.mark.parametrize("entrance", ["dvc", "snakemake"])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("min_delta:", "min_dleta:", "cues.min_dleta: unknown key, did you mean 'min_delta'?"),
        ("tables:", "tabels:", "tabels: unknown key, did you mean 'tables'?"),
        ("min_delta: 0.0", "min_delta: high", "cues.min_delta: Input should be a valid number"),
    ],
)
def test_a_mistake_in_params_is_one_line_and_changes_no_result(
    repro: Path, resumed: Resumed, entrance: str, old: str, new: str, message: str
) -> None:
    if entrance == "dvc":
        refused(repro, ("dvc", "repro"), old, new, message)
        assert run(repro, "dvc", "repro").returncode == 0
    else:
        refused(resumed.folder, ("snakemake", "--cores", "2"), old, new, message)


def test_a_selection_that_leaves_no_cue_is_one_line_and_changes_no_result(repro: Path) -> None:
    message = "no cue is left after selection"
    refused(repro, ("dvc", "repro"), "min_delta: 0.0", "min_delta: 0.9", message)
    assert run(repro, "dvc", "repro").returncode == 0


def test_a_clone_that_pulled_rebuilds_tables_and_figures_without_an_engine(
    repro: Path, tmp_path: Path
) -> None:
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    assert run(repro, "dvc", "remote", "add", "-f", "-d", "here", str(remote)).returncode == 0
    assert run(repro, "dvc", "push").returncode == 0
    ignore = shutil.ignore_patterns("results", ".snakemake", "logs", "cache", "tmp")
    shutil.copytree(repro, clone, ignore=ignore)
    assert run(clone, "dvc", "pull").returncode == 0
    assert "up to date" in run(clone, "dvc", "repro").stdout
    (clone / "results/tables/accuracy.csv").unlink()
    stages = ("tables", "figures@demo", "report")
    result = run(clone, "dvc", "repro", "--force", "--single-item", *stages)
    assert result.returncode == 0, result.stdout + result.stderr
    for table in TABLES:
        assert (clone / table).read_bytes() == (repro / table).read_bytes()
    assert not list((clone / "logs").rglob("engine-*.log"))
