"""The page and the closing list: what is shown, and what is said to be missing."""

import sys
from pathlib import Path

import polars as pl
import pytest

from stages import report
from stages.analysis import report_page
from stages.analysis.accuracy import left_out_rows
from stages.analysis.listing import FIGURES, TABLES
from stages.analysis.paper_tables import GRIDS
from stages.tracking.files import Row
from stages.tracking.notes import read_provenance, write_provenance

pytestmark = pytest.mark.unit
REASON = "Owner/set is gated: accept its terms"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run of two pairs; one went without a benchmark."""
    for name in TABLES:
        table = pl.DataFrame({"pair": ["demo", "qwen3"], "figure": [1.0, 2.0]})
        if name == "left_out":
            table = left_out_rows("qwen3", {"gpqa": REASON})
        (tmp_path / "tables").mkdir(exist_ok=True)
        table.write_csv(tmp_path / "tables" / f"{name}.csv")
    (tmp_path / "figures").mkdir()
    for pair in ("demo", "qwen3"):
        for name in FIGURES:
            (tmp_path / "figures" / f"{pair}-{name}.png").write_bytes(b"")
            (tmp_path / "figures" / f"{pair}-{name}.txt").write_text(f"{name} of {pair}.\n")
    return tmp_path


def tables(results: Path, pair: str) -> list[str]:
    return [caption for caption, *_ in report_page.pair_content(results, pair)["tables"]]


def test_what_a_pair_went_without_is_on_its_page_with_the_reason(results: Path) -> None:
    caption, content, _ = report_page.pair_content(results, "qwen3")["tables"][-1]
    assert caption == TABLES["left_out"]
    assert content == (["left_out", "reason"], [["gpqa", REASON]])


def test_a_pair_that_went_without_nothing_has_no_such_table(results: Path) -> None:
    assert tables(results, "demo") == [text for name, text in TABLES.items() if name != "left_out"]


def test_a_figure_has_its_own_caption(results: Path) -> None:
    shown = report_page.pair_content(results, "demo")["figures"]
    assert [caption for _, caption in shown] == [f"{name} of demo." for name in FIGURES]


def test_every_listed_table_can_be_printed() -> None:
    assert list(GRIDS) == list(TABLES)


def test_the_closing_list_ends_with_what_was_left_out(results: Path) -> None:
    assert report_page.left_out(results) == [f"qwen3 without gpqa: {REASON}"]


def test_a_run_without_gaps_has_nothing_to_add(results: Path) -> None:
    left_out_rows("demo", {}).write_csv(results / "tables" / "left_out.csv")
    assert report_page.left_out(results) == []
    assert TABLES["left_out"] not in tables(results, "qwen3")


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


def test_a_table_is_followed_by_where_its_own_pairs_answers_came_from(results: Path) -> None:
    note_accuracy(results)
    for pair in ("demo", "qwen3"):
        policies, accuracy, *_ = report_page.pair_content(results, pair)["tables"]
        engine = f"commit abc · engine of {pair} · large {pair}"
        assert accuracy[2] == f"{engine} · no container · A <CPU>, 2 cores · 2026-02-03"
        assert policies[2] == ""


def test_the_page_shows_one_such_line_and_stays_self_contained(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_accuracy(results)
    page = results / "report.html"
    monkeypatch.setattr(sys, "argv", ["report", "--results", str(results), "--out", str(page)])
    report.main()
    text = page.read_text()
    assert text.count('class="origin"') == 1
    assert "A &lt;CPU&gt;, 2 cores" in text
    assert "http" not in text
    assert str(results / "tables" / "accuracy.csv") in read_provenance(page)["made_from"]


def test_the_closing_list_names_results_and_no_notes(results: Path) -> None:
    note_accuracy(results)
    names = [path.name for path in report_page.written(results)]
    assert "accuracy.csv" in names
    assert not [name for name in names if name.endswith(".json")]
