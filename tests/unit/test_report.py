"""The page: what is shown, what is said to be missing, and that nothing breaks out of it."""

import json
import re
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

from stages import report
from stages.analysis import report_page
from stages.analysis.accuracy import left_out_rows
from stages.analysis.listing import FIGURES, OF_LOAD, TABLES
from stages.analysis.paper_tables import GRIDS
from stages.tracking.files import Row
from stages.tracking.notes import read_provenance, write_provenance

pytestmark = pytest.mark.unit
REASON = "Owner/set is gated: accept its terms"


PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (700).to_bytes(4, "big")
SCRIPT = "</script><script>alert(1)</script>"
ROWS: dict[str, Row] = {
    "accuracy": {
        "method": "large", "benchmark": "b", "pass_at_1": 90.0, "ci_low": 80.0, "ci_high": 95.0,
        "sem": 1.0, "n_problems": 10, "n_repeats": 1, "pass_at_k": None, "majority_at_k": None,
        "mean_tokens": 5.0, "large_utilization": 100.0, "cut_percent": 0.0,
        "no_answer_percent": 0.0, "paper": None,
    },
    "differences": {
        "method": "relaygen", "benchmark": "b", "difference": -1.0, "ci_low": -2.0,
        "ci_high": 1.0, "verdict": "undecided", "n_problems": 10, "n_repeats": 1, "paper": None,
    },
    "speed": {
        "method": "large", "speedup": 1.0, "speedup_sd": 0.0, "ci_low": 1.0, "ci_high": 1.0,
        "large_utilization": 100.0, "large_utilization_sd": 0.0, "tokens_per_s": 1.0,
        "acceptance_length": None, "handoff_ms": None, "bound": None, "bound_percent": None,
        "large_ms": None, "small_ms": None, "between_ms": None,
        "cached_percent": 0.0, "other_load": 0.0, "n_problems": 2, "n_runs": 2,
        "paper_speedup": None, "paper_speedup_sd": None, "paper_large_utilization": None,
        "paper_large_utilization_sd": None,
    },
    "policies": {
        "method": "large", "benchmark": "b", "pass_at_1": 90.0, "ci_low": 80.0, "ci_high": 95.0,
        "large_utilization": 100.0, "utilization_low": 100.0, "utilization_high": 100.0,
        "dominated_by": "", "speedup": 1.0,
    },
    "throughput": {
        "method": "large", "replicas": 1, "in_flight": 1, "gpus": 0, "answers_per_min": 1.0,
        "tokens_per_min": 9.0, "median_s": 1.0, "p95_s": 2.0, "first_token_s": 0.5,
        "large_utilization": 100.0, "core_s_per_answer": 3.0, "against_large": 1.0, "n_problems": 8,
    },
    "cue_ablation": {
        "cue_set": "relaygen", "benchmark": "b", "pass_at_1": 90.0, "ci_low": 80.0,
        "ci_high": 95.0, "large_utilization": 50.0, "cut_percent": 0.0, "no_answer_percent": 0.0,
        "n_problems": 10, "n_repeats": 1,
    },
    "answer_stage": {"benchmark": "b", "n": 10, "consistent_percent": 100.0, "paper": None},
}  # fmt: skip
CUES = [
    {"cue": cue, "n_segments": n, "delta": 0.1, "ci_low": 0.0, "ci_high": 0.2, "selected": yes}
    for cue, n, yes in (("So", 9, True), ("But", 9, False), ("Hmm", 1, False))
]
PART = ["large", "reasoning", f"One. {SCRIPT}", "So", 3, 0.5]
ANSWER = {
    "predicted": "1", "correct": True, "finish": "stop", "seconds": 0.5, "hand_offs": 1,
    "parts": [PART],
}  # fmt: skip
EXCERPTS = {
    "speed_benchmark": "b", "min_segments": 2, "facts": [["Seed", "7"]], "seconds": {"infer": 75},
    "cues": CUES, "n_problems": 2,
    "problems": [
        {"benchmark": "b", "id": i, "problem": "P?", "gold": "1", "answers": {"large": ANSWER}}
        for i in range(2)
    ],
}  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run of two pairs; one went without a benchmark."""
    (tmp_path / "tables").mkdir()
    for name in TABLES:
        table = left_out_rows("qwen3", {"gpqa": REASON})
        if name != "left_out":
            table = pl.DataFrame([{"pair": pair, **ROWS[name]} for pair in ("demo", "qwen3")])
        table.write_csv(tmp_path / "tables" / f"{name}.csv")
    for folder in ("figures", "excerpts"):
        (tmp_path / folder).mkdir()
    for pair in ("demo", "qwen3"):
        (tmp_path / "excerpts" / f"{pair}.json").write_text(json.dumps(EXCERPTS))
        for name in FIGURES:
            (tmp_path / "figures" / f"{pair}-{name}.png").write_bytes(PNG)
            (tmp_path / "figures" / f"{pair}-{name}.txt").write_text(f"{name} of {pair}.\n")
    return tmp_path


def tables(results: Path, pair: str) -> list[str]:
    return [one["name"] for one in report_page.pair_content(results, pair)["tables"]]


def page(results: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page as it is written."""
    file = results / "report.html"
    monkeypatch.setattr(sys, "argv", ["report", "--results", str(results), "--out", str(file)])
    report.main()
    return file.read_text()


def test_what_a_pair_went_without_is_on_its_page_with_the_reason(results: Path) -> None:
    content = report_page.pair_content(results, "qwen3")
    assert [cell.text for cell in content["tables"][-1]["grid"].rows[0]] == ["gpqa", REASON]
    assert content["findings"][-1] == f"Left out: gpqa ({REASON})."


def test_a_pair_that_went_without_nothing_has_no_such_table(results: Path) -> None:
    missing = ("left_out", OF_LOAD)
    assert tables(results, "demo") == [name for name in TABLES if name not in missing]


def test_a_pair_that_was_measured_under_load_has_a_table_and_a_figure_more(results: Path) -> None:
    figures = results / "figures"
    shutil.copy(figures / "demo-speed.png", figures / f"demo-{OF_LOAD}.png")
    (figures / f"demo-{OF_LOAD}.txt").write_text("Answers under load.\n")
    page = report_page.pair_content(results, "demo", under_load=True)
    assert OF_LOAD in [table["name"] for table in page["tables"]]
    assert page["figures"][1]["caption"] == "Answers under load."


def test_a_figure_has_its_own_caption_and_the_best_one_comes_first(results: Path) -> None:
    shown = report_page.pair_content(results, "demo")["figures"]
    assert shown[0]["name"] == "pareto"
    assert sorted(one["caption"] for one in shown) == sorted(f"{name} of demo." for name in FIGURES)


def test_figures_are_drawn_to_one_scale(results: Path) -> None:
    shown = report_page.pair_content(results, "demo")["figures"]
    assert {one["inches"] for one in shown} == {3.5}


@pytest.mark.parametrize(("n", "sizes"), [(1, [1]), (13, [13]), (14, [13, 2]), (37, [13, 13, 13])])
def test_a_wide_table_is_cut_into_parts_that_begin_with_the_first_column(
    n: int, sizes: list[int]
) -> None:
    found = report_page.parts(n)
    assert [len(part) for part in found] == sizes
    assert {part[0] for part in found} == {0}
    assert {column for part in found for column in part} == set(range(n))


def test_cues_are_told_apart_by_whether_there_was_enough_of_them() -> None:
    found = report_page.cue_content(CUES, 2)
    assert [one["cue"] for one in found["selected"]] == ["So"]
    assert [one["cue"] for one in found["rejected"]] == ["But"]
    assert found["rare"] == ["Hmm"]


def test_answers_that_the_page_has_no_room_for_are_left_out_and_counted(results: Path) -> None:
    size = len(json.dumps(EXCERPTS["problems"])) * 3 // 4
    found = report_page.pair_content(results, "demo", size)
    assert (found["n_shown"], found["n_problems"]) == (1, 2)


def test_no_text_of_an_answer_ends_the_pages_script(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page(results, monkeypatch)
    assert "alert(1)" in text
    assert SCRIPT not in text
    (data,) = re.findall(r'id="answers-of-demo">(.*?)</script>', text)
    assert json.loads(data)["problems"][0]["answers"]["large"]["parts"][0] == PART


def test_every_link_within_the_page_leads_somewhere(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page(results, monkeypatch)
    wanted = re.findall(r'href="#([^"]+)"', text)
    assert wanted
    assert set(wanted) <= set(re.findall(r'id="([^"]+)"', text))


def test_the_code_that_a_page_links_to_exists(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = set(re.findall(r'href="\.\./([^"]+)"', page(results, monkeypatch)))
    assert "stages/analysis/speedup.py" in linked
    assert [name for name in linked if not Path(name).is_file()] == []


def test_every_listed_table_can_be_printed() -> None:
    assert list(GRIDS) == list(TABLES)


def note_accuracy(results: Path) -> None:
    """A note beside accuracy.csv: the answers of each pair came from an engine of its own."""
    behind: Row = {}
    for pair in ("demo", "qwen3"):
        run = {
            "models": {"large": pair}, "engine": f"engine of {pair}", "git_commit": "abc",
            "container": "none", "hardware": {"cpu": "A <CPU>", "cores": 2, "gpus": []},
            "started": "2026-02-03T10:00:00+00:00",
        }  # fmt: skip
        summary, answers = f"summaries/{pair}/accuracy.csv", f"{pair}/answers.parquet"
        behind |= {summary: {"made_from": [answers]}, answers: run}
    summaries = [name for name in behind if name.endswith(".csv")]
    origin = {"made_from": summaries, "behind": behind}
    write_provenance(origin, results / "tables" / "accuracy.csv")


def test_a_page_says_where_a_pairs_own_answers_came_from(results: Path) -> None:
    note_accuracy(results)
    for pair in ("demo", "qwen3"):
        engine = f"commit abc · engine of {pair} · large {pair}"
        assert (
            report_page.pair_content(results, pair)["origin"]
            == f"{engine} · no container · A <CPU>, 2 cores · 2026-02-03"
        )


def test_the_page_shows_one_such_line_and_stays_self_contained(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_accuracy(results)
    text = page(results, monkeypatch)
    assert text.count("engine of demo") == 1
    assert "A &lt;CPU&gt;, 2 cores" in text
    assert "http" not in text
    assert (
        str(results / "tables" / "accuracy.csv")
        in read_provenance(results / "report.html")["made_from"]
    )
