"""The plan's arithmetic, what it refuses, and what it prints, without an engine."""

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from stages import plan
from stages.config.params import load
from stages.config.schema import File
from stages.generation import store
from stages.generation.answering import tasks
from stages.generation.asking import answers_store
from stages.methods import of_kind
from stages.planning import assumptions, done, estimates, overview, sizes
from stages.planning.assumptions import Shape
from stages.planning.due import NOT_THERE, due, following, outputs, stage_of_result
from stages.planning.fit import misfits
from stages.planning.jobs import jobs
from stages.planning.measured import Measured, by_a_run
from stages.planning.pair import PlannedPair, planned_pair
from stages.planning.work import PlannedWork, planned_work, total
from stages.runtime.errors import UserError
from stages.tracking import status
from stages.tracking.files import write_text
from stages.tracking.frames import write_parquet
from stages.tracking.recipes import latency_recipe
from stages.tracking.resolving import settings_of
from stages.tracking.status import Result
from stages.tracking.targets import Target

pytestmark = pytest.mark.unit

PARAMS = load(Path("params.yaml"))
NOTHING = Measured()
KNOWN = assumptions.load(Path("workflow/reference/plan.yaml"))
QWEN3_32B = KNOWN.models["Qwen/Qwen3-32B"]
R1_SMALL = KNOWN.models["deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"]


@pytest.fixture(autouse=True)
def nothing_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No results, an empty store."""
    monkeypatch.setattr(done, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(store, "STORE", tmp_path / "store")
    monkeypatch.setattr(plan, "due", lambda params: {"tables": []})
    monkeypatch.setattr(plan, "RESULTS", tmp_path / "results")


@pytest.fixture
def own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without results."""
    for name in ("dvc.yaml", "workflow", "demo_pair", "containers"):
        (tmp_path / name).symlink_to(Path(name).resolve())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def params_file(tmp_path: Path, **changes: Any) -> Path:
    """The project's params.yaml with dotted keys set, dots written as __."""
    raw = yaml.safe_load(Path("params.yaml").read_text())
    for key, value in changes.items():
        *path, last = key.split("__")
        block = raw
        for part in path:
            block = block[part]
        block[last] = value
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(raw, sort_keys=False))
    return file


def planned(
    tmp_path: Path,
    pair: str,
    due: Mapping[str, list[str]] = {},
    measured: Measured = NOTHING,
    **changes: Any,
) -> PlannedPair:
    """A pair to plan for; what is on disk is up to date, but for the stages that are `due`."""
    params = load(params_file(tmp_path, **changes)) if changes else PARAMS
    return planned_pair(params, pair, KNOWN, due, measured)


def line(pair: PlannedPair, method: str, benchmark: str) -> PlannedWork:
    """The plan's line on a method and a benchmark."""
    lines = planned_work(pair)
    (found,) = (one for one in lines if (one.method, one.benchmark) == (method, benchmark))
    return found


def keep(pair: PlannedPair, method: str, benchmark: str, n: int) -> None:
    """Write a method's cue set and `n` problems, and keep an answer to each."""
    problems = pl.DataFrame({"problem_id": range(n), "prompt_ids": [[i] for i in range(n)]})
    write_parquet(done.RESULTS / pair.name / f"problems/{benchmark}.parquet", problems)
    write_text(done.RESULTS / pair.name / f"cue_sets/{method}.yaml", "[]\n")
    settings = settings_of(pair.params, Target("infer", pair.name, method))
    with answers_store(settings, settings.method, []) as answers:
        for task in tasks(problems, repeats=1):
            answers.append(task.key, {})


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["plan", *arguments])
    plan.main()


def test_one_answer_in_flight_takes_its_tokens_times_the_time_of_one() -> None:
    assert estimates.writing_hours(3_600_000, ms_per_token=2, at_once=1, slowdown=0.1) == 2


def test_sixteen_in_flight_write_six_times_as_fast_where_each_slows_all_by_a_ninth() -> None:
    one, sixteen = (estimates.writing_hours(1e6, 33, n, slowdown=1 / 9) for n in (1, 16))
    assert one / sixteen == pytest.approx(6)


def test_reading_takes_tokens_by_tokens_per_second() -> None:
    assert estimates.reading_hours(7200, tokens_per_s=1) == 2


@pytest.mark.parametrize(
    ("concurrency", "answers", "room", "at_once"),
    [(16, 100, None, 16), (16, 3, None, 3), (16, 100, 10_500, 10), (16, 100, 500, 1)],
)
def test_answers_in_flight_are_bound_by_their_number_and_the_cache(
    concurrency: int, answers: int, room: int | None, at_once: int
) -> None:
    assert estimates.in_flight(concurrency, answers, 1000, room) == at_once


def test_weights_are_shared_among_the_gpus() -> None:
    assert sizes.weights_gib(32.8, bytes_each=2, gpus=2) == pytest.approx(30.55, abs=0.01)


@pytest.mark.parametrize(
    ("shape", "gpus", "size"),
    [
        (QWEN3_32B, 1, 262_144),
        (QWEN3_32B, 2, 131_072),
        (R1_SMALL, 1, 28_672),
        (R1_SMALL, 4, 14_336),
    ],
)
def test_a_tokens_keys_and_values_take_a_gpus_share_of_the_heads_at_least_one(
    shape: Shape, gpus: int, size: int
) -> None:
    assert sizes.kv_bytes(shape, bytes_each=2, gpus=gpus) == size


def test_the_cache_holds_what_is_free_by_the_size_of_a_token() -> None:
    assert sizes.kv_tokens(free_gib=1, bytes_per_token=262_144) == 4096
    assert sizes.kv_tokens(free_gib=-1, bytes_per_token=262_144) == 0


def test_the_room_of_an_engine_is_its_share_less_weights_and_overhead(tmp_path: Path) -> None:
    free = 0.8 * 80 - 30.55 - KNOWN.node.overhead_gib
    room = sizes.engine_room(planned(tmp_path, "qwen3"), "large")
    assert room == pytest.approx(free * 2**30 / 131_072, rel=1e-3)


def test_nothing_is_said_of_the_room_of_a_model_that_is_not_known(tmp_path: Path) -> None:
    own = planned(tmp_path, "qwen3", pairs__qwen3__engines__large__model="own/model")
    assert sizes.engine_room(own, "large") is None
    assert "large: size of own/model not known, not checked" in overview.memory(own)


def test_models_of_the_repository_take_no_disk_and_those_of_the_hub_once(tmp_path: Path) -> None:
    assert sizes.model_bytes(planned(tmp_path, "demo")) == 0
    billions = (32.8, 1.56, 2.03)
    assert sizes.model_bytes(planned(tmp_path, "qwen3")) == pytest.approx(sum(billions) * 2e9)


def test_answers_are_problems_times_repeats(tmp_path: Path) -> None:
    pair = planned(tmp_path, "qwen3")
    counts = [estimates.n_answers(pair, name) for name in pair.settings.problem_sets]
    assert counts == [160, 120, 2000, 792]
    assert estimates.n_answers(planned(tmp_path, "demo"), "chains_short") == 30


def test_a_local_file_says_itself_how_many_problems_it_has(tmp_path: Path) -> None:
    mine = File(source="file", path="data/example.jsonl", scoring="math")
    assert estimates.n_problems("mine", mine, KNOWN) == 2


def test_a_set_of_the_hub_that_nothing_is_known_of_is_refused(tmp_path: Path) -> None:
    hub = PARAMS.pair("qwen3").benchmarks["aime25"]
    assert estimates.n_problems("aime25", hub, KNOWN) == 30
    with pytest.raises(UserError, match="other: how many problems"):
        estimates.n_problems("other", hub, KNOWN)


def test_a_methods_time_is_the_large_models_by_its_speedup(tmp_path: Path) -> None:
    pair = planned(tmp_path, "qwen3")
    large, relayed = line(pair, "large", "math500"), line(pair, "relaygen", "math500")
    assert large.hours / relayed.hours == pytest.approx(1.29)
    assert large.gpu_hours == pytest.approx(2 * large.hours)
    assert relayed.gpu_hours == pytest.approx(3 * relayed.hours)
    assert relayed.disk_bytes == 2000 * 5000 * KNOWN.disk.answers


def test_methods_are_timed_like_the_papers() -> None:
    methods = PARAMS.all_methods
    like = {name: estimates.timed_like(method) for name, method in methods.items()}
    assert like["small"] == "small"
    assert like["eagle3"] == "eagle3"
    assert like["spec_think"] == "spec_think"
    assert like["relaygen_eagle3"] == "relaygen_eagle3"
    assert like["boundary"] == "relaygen"


def test_what_routes_tokens_is_timed_like_r2r() -> None:
    line = {"kind": "token_route", "large": "large", "small": "small", "cues": "none"}
    assert estimates.timed_like(of_kind({**line, "router": "entropy"})) == "r2r"


def test_parts_start_engines_of_their_own_and_fill_them_as_long_as_there_are_answers(
    tmp_path: Path,
) -> None:
    whole, parts = planned(tmp_path, "qwen3"), planned(tmp_path, "qwen3", infer__shards=40)
    assert line(parts, "large", "math500").hours == line(whole, "large", "math500").hours
    assert line(parts, "large", "aime25").hours > line(whole, "large", "aime25").hours
    # Traces, margins, latency, answer stages; large and small, eagle3 and small, and draft.
    assert planned_work(parts)[-2].method == f"{4 + 3 * 40} starts"


def test_latency_is_one_answer_at_a_time_on_the_gpus_of_all_methods(tmp_path: Path) -> None:
    timed = line(planned(tmp_path, "r1"), "all 6", "aime25")
    assert timed.answers == 5 * 5 * 6
    assert timed.gpu_hours == pytest.approx(5 * timed.hours)
    large_alone = 25 * 12_000 * 31.4 / 3_600_000
    of_small = 25 * 15_000 * 5.9 / 3_600_000
    assert timed.hours == pytest.approx(
        large_alone * (2 + 1 / 2.21 + 1 / 1.3 + 1 / 1.29) + of_small
    )


def test_a_pair_without_an_engine_goes_without_its_methods_and_variants(tmp_path: Path) -> None:
    pair = planned(tmp_path, "r1")
    assert {job.method for job in jobs(pair)}.isdisjoint({"eagle3", "relaygen_eagle3", "published"})


def test_the_demo_takes_no_gpus_and_about_half_an_hour(tmp_path: Path) -> None:
    whole = total(planned_work(planned(tmp_path, "demo")))
    assert whole.gpu_hours == 0
    assert 0.3 < whole.hours < 0.6


def test_what_is_there_is_not_to_be_done_again(tmp_path: Path) -> None:
    pair = planned(tmp_path, "demo")
    folder = tmp_path / "results/demo"
    (folder / "generations/large").mkdir(parents=True)
    (folder / "generations/large/chains_short.parquet").touch()
    keep(pair, "large", "chains_long", 3)
    short, long = line(pair, "large", "chains_short"), line(pair, "large", "chains_long")
    assert (short.left, short.status) == (0, "finished")
    assert (long.left, long.status) == (1 - 3 / 60, "3 kept")
    assert line(pair, "large", "chains_choice").status == "-"


def test_timed_answers_are_counted_once_all_cue_sets_are_there(tmp_path: Path) -> None:
    pair = planned(tmp_path, "demo")
    settings = settings_of(PARAMS, Target("latency", "demo"))
    cues: dict[str, list[str]] = {name: [] for name in settings.methods}
    with store.Store.under("latency", latency_recipe(settings, cues)) as measured:
        measured.append(("large", "prompt", "0"), {})
    assert line(pair, "all 9", "chains_short").status == "-"
    for name in cues:
        write_text(done.RESULTS / f"demo/cue_sets/{name}.yaml", "[]\n")
    assert line(pair, "all 9", "chains_short").status == "1 kept"


def test_answers_under_another_recipe_are_not_counted(tmp_path: Path) -> None:
    keep(planned(tmp_path, "demo", seed=1), "large", "chains_long", 3)
    assert line(planned(tmp_path, "demo"), "large", "chains_long").status == "-"


def test_engines_are_started_only_for_what_is_not_finished(tmp_path: Path) -> None:
    before = planned_work(planned(tmp_path, "demo"))[-2]
    for file in ("traces.parquet", "margins.parquet"):
        (tmp_path / "results/demo").mkdir(parents=True, exist_ok=True)
        (tmp_path / "results/demo" / file).touch()
    after = planned_work(planned(tmp_path, "demo"))[-2]
    assert (before.method, after.method) == ("7 starts", "5 starts")


def test_the_projects_pairs_all_fit(tmp_path: Path) -> None:
    pairs = PARAMS.pairs
    assert [line for pair in pairs for line in misfits(planned(tmp_path, pair))] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pairs__qwen3__engines__large__gpus": 8},
            "latency all 8 takes 13 GPUs .*a node has 8",
        ),
        (
            {"pairs__qwen3__engines__large__gpus": 1, "engines__gpu_memory": 0.7},
            "'large': 61.1 GiB of weights on each of 1 GPUs, engines.gpu_memory leaves it 56.0",
        ),
        (
            {"pairs__qwen3__engines__large__gpus": 1, "engines__gpu_memory": 0.9},
            r"'large': its KV cache holds \d+ tokens, not one answer of max_model_len 36000",
        ),
        (
            {"pairs__qwen3__max_model_len": 33000},
            "max_model_len 33000 is less than budget 32768 and 300 tokens for a prompt",
        ),
        (
            {"pairs__qwen3__engines__large__gpus": 3},
            "'large': gpus 3 does not divide the 64 attention heads of Qwen/Qwen3-32B",
        ),
    ],
)
def test_what_cannot_fit_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    lines = misfits(planned(tmp_path, "qwen3", **changes))
    assert any(re.search(message, line) for line in lines)
    assert all("\n" not in line for line in lines)


def test_a_refusal_ends_with_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = params_file(tmp_path, run=["qwen3"], pairs__qwen3__max_model_len=33000)
    with pytest.raises(SystemExit, match="1"):
        run(monkeypatch, "--params", str(file))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: pair 'qwen3': max_model_len 33000")


def test_the_papers_plan_is_a_page_with_gpus_totals_and_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--params", str(params_file(tmp_path, run=["qwen3", "r1"])))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 90
    assert any(
        "relaygen_eagle3  aime25" in line and "eagle3: 0,1 + small: 2" in line for line in lines
    )
    assert sum(line.startswith("total ") for line in lines) == 2
    assert any("estimates" in line for line in lines[lines.index("assumed:") :])


def test_json_has_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--params", str(params_file(tmp_path)), "--json")
    (pair,) = json.loads(capsys.readouterr().out)["pairs"].values()
    assert pair["total"]["answers"] == sum(row["answers"] for row in pair["rows"])
    assert {row["stage"] for row in pair["rows"]} == {
        "traces", "margins", "infer", "ablation", "latency", "answer_stage", "engines", "stages",
    }  # fmt: skip


def test_commands_name_the_gpus_and_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--params", str(params_file(tmp_path)), "--pair", "qwen3", "--commands")
    lines = capsys.readouterr().out.splitlines()
    (about,) = (line for line in lines if re.match("# qwen3 together .*relaygen, .*: large$", line))
    first = lines.index(about)
    assert lines[first + 2] == about.replace(": large", ": small")
    for line, ids, model in (
        (lines[first + 1], "0,1", "Qwen/Qwen3-32B"),
        (lines[first + 3], "2", "Qwen/Qwen3-1.7B"),
    ):
        assert line.startswith(f"CUDA_VISIBLE_DEVICES={ids} ")
        arguments = shlex.split(line)
        assert arguments[arguments.index("--model") + 1] == model


def test_engines_on_a_cpu_are_given_no_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--params", str(params_file(tmp_path)), "--commands")
    assert "CUDA" not in capsys.readouterr().out


@pytest.mark.parametrize(("hours", "text"), [(63.04, "63.0 h"), (0.5, "30 min"), (0.01, "36 s")])
def test_durations_are_in_the_unit_that_suits_them(hours: float, text: str) -> None:
    assert overview.duration(hours) == text


def test_an_answer_is_not_longer_than_the_budget(tmp_path: Path) -> None:
    pair = planned(tmp_path, "demo")
    short = pair.settings.model_copy(update={"budget": 100})
    pairs = {**pair.params.pairs, "demo": short}
    params = pair.params.model_copy(update={"pairs": pairs})
    assert estimates.answer_tokens(pair, "large", "chains_long") == 660
    cut = dataclasses.replace(pair, params=params)
    assert estimates.answer_tokens(cut, "large", "chains_long") == 100


def test_what_a_pair_was_measured_at_counts_before_what_is_assumed(tmp_path: Path) -> None:
    own = Measured({("relaygen", "chains_long"): 100.0}, {"relaygen": 10.0})
    assumed, known = planned(tmp_path, "demo"), planned(tmp_path, "demo", measured=own)
    before, after = (line(pair, "relaygen", "chains_long") for pair in (assumed, known))
    assert after.tokens == 60 * 100
    assert after.hours / before.hours == pytest.approx(100 * 10 / (660 * 17.2 / 1.92))
    assert line(known, "large", "chains_long") == line(assumed, "large", "chains_long")


def test_a_variant_of_the_relay_is_timed_like_the_relay_that_was_measured(tmp_path: Path) -> None:
    pair = planned(tmp_path, "demo", measured=Measured({}, {"relaygen": 10.0}))
    assert estimates.ms_per_token(pair, "substring") == 10.0


def test_tokens_and_times_are_read_from_a_pairs_summaries(tmp_path: Path) -> None:
    table = {"pair": ["p"], "method": ["large"]}
    right = {"benchmark": ["b"], "pass_at_1": [90.0], "mean_tokens": [70.0]}
    pl.DataFrame({**table, **right}).write_csv(tmp_path / "accuracy.csv")
    fast = {"speedup": [1.0], "tokens_per_s": [25.0]}
    pl.DataFrame({**table, **fast}).write_csv(tmp_path / "speed.csv")
    found = by_a_run(tmp_path)
    assert (found.tokens, found.ms_per_token) == ({("large", "b"): 70.0}, {"large": 40.0})
    assert by_a_run(tmp_path / "none") == Measured()


def test_answers_slow_each_other_as_they_were_measured_to(tmp_path: Path) -> None:
    pair = planned(tmp_path, "demo", measured=Measured(slowdown=0.5))
    assert estimates.slowdown(pair) == 0.5


def test_a_relay_is_timed_by_the_large_model_that_was_measured(tmp_path: Path) -> None:
    pair = planned(tmp_path, "demo", measured=Measured({}, {"large": 19.2}))
    assert estimates.ms_per_token(pair, "relaygen") == pytest.approx(10)


def test_an_output_whose_stage_is_due_is_not_finished(tmp_path: Path) -> None:
    file = tmp_path / "results/demo/generations/large/chains_short.parquet"
    file.parent.mkdir(parents=True)
    file.touch()
    pair = planned(tmp_path, "demo", due={"infer@demo-large": ["settings: seed"]})
    assert line(pair, "large", "chains_short").left == 1


def test_answers_by_cues_that_are_mined_anew_are_not_counted_as_kept(tmp_path: Path) -> None:
    names = ("infer@demo-relaygen", "cue_set@demo", "infer@demo-large")
    pair = planned(tmp_path, "demo", due={name: [] for name in names})
    for method in ("relaygen", "large"):
        keep(pair, method, "chains_long", 3)
    assert line(pair, "relaygen", "chains_long").status == "-"
    assert line(pair, "large", "chains_long").status == "3 kept"


@pytest.mark.parametrize(
    ("why", "status"), [("settings: problem_set", "3 kept"), ("settings: prompts", "-")]
)
def test_answers_to_prompts_that_may_change_are_not_counted_as_kept(
    tmp_path: Path, why: str, status: str
) -> None:
    pair = planned(tmp_path, "demo", due={"prepare@demo": [why], "infer@demo-large": []})
    keep(pair, "large", "chains_long", 3)
    assert line(pair, "large", "chains_long").status == status


# Which stages are due.


def test_all_stages_of_dvc_are_due_where_nothing_is_there(own_project: Path) -> None:
    found = due(PARAMS)
    assert found["traces@demo"] == [NOT_THERE]
    assert len(found) == len(outputs(PARAMS)) == 17 + len(PARAMS.all_methods)


def result(path: str, target: Target | None, *inputs: str, why: str = "") -> Result:
    return Result(Path(path), target, list(inputs), [why] if why else [])


CUES, SETS = Target("cues", "demo"), Target("cue_set", "demo", "relaygen")
RELAYED = Target("merge", "demo", "relaygen")
CHAIN = [
    result("selected_cues.yaml", CUES, "margins.parquet"),
    result("cues.csv", CUES, "margins.parquet", why="cues: min_delta"),
    result("relaygen.yaml", SETS, "selected_cues.yaml"),
    result("large.yaml", Target("cue_set", "demo", "large")),
    result("relaygen.parquet", RELAYED, "relaygen.yaml"),
]


def test_what_is_made_of_what_is_made_again_follows_and_nothing_else() -> None:
    assert following(CHAIN) - {CUES} == {SETS, RELAYED}


@pytest.mark.parametrize(("stage", "together"), [("merge", True), ("score", False)])
def test_methods_are_asked_together_where_the_answers_of_any_are_due(
    monkeypatch: pytest.MonkeyPatch, stage: str, together: bool
) -> None:
    target = Target(stage, "demo", "large" if stage == "merge" else None)
    monkeypatch.setattr("stages.planning.due.missing", lambda _: False)
    monkeypatch.setattr(status, "compared", lambda _: [result("a", target, why="settings: seed")])
    assert ("together@demo" in due(PARAMS)) == together


def test_where_nothing_is_out_of_date_nothing_follows() -> None:
    assert following([one._replace(why=[]) for one in CHAIN]) == set()


def test_a_result_that_was_changed_by_hand_is_of_the_stage_that_makes_it() -> None:
    found = stage_of_result(result("results/demo/generations/large/a.parquet", None), PARAMS)
    assert found == "infer@demo-large"


def test_a_stage_of_a_pair_and_method_is_named_as_dvc_names_it() -> None:
    names = set(outputs(PARAMS))
    assert {"tables", "cues@demo", "infer@demo-large", "ablation_infer@demo-substring"} <= names
