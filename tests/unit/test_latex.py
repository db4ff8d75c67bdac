"""Tables in LaTeX: they fit into documents of one and of two columns, and compile as they are."""

import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
import yaml

from stages.analysis.latex import PAGE_PT, column_width, latex, parts, total
from stages.analysis.numbers import numbers
from stages.analysis.paper_tables import GRIDS, REFERENCE
from stages.analysis.table_grid import Cell, Grid, digits_of

pytestmark = pytest.mark.unit

METHODS = ["large", "relaygen", "relaygen_eagle3", *(f"My_method_{i}" for i in range(13))]
BENCHMARKS = ["aime25", "math500", "gpqa_diamond", *(f"own_benchmark_{i}" for i in range(9))]
SIZE = {"pair": "qwen3", "n_problems": 30, "n_repeats": 4, "ci_low": -12.5, "ci_high": 10.0}
SHARES = {"cut_percent": 10.0, "no_answer_percent": 20.0, "large_utilization": 71.25}
SPEED = {
    "speedup": 1.25, "speedup_sd": 0.25, "large_utilization": 70.0, "large_utilization_sd": 3.5,
    "acceptance_length": 2.75, "bound": 1.5, "bound_percent": 80.0, "n_runs": 5,
}  # fmt: skip
LOAD = {
    "replicas": 2, "answers_per_min": 123.4, "tokens_per_min": 43210.0, "median_s": 12.3,
    "p95_s": 45.6, "first_token_s": 0.12, "large_utilization": 70.0, "gpus": 3,
    "gpu_s_per_answer": 123.4, "against_large": 0.86,
}  # fmt: skip
CELLS = [(method, benchmark) for method in METHODS for benchmark in BENCHMARKS]
NAMED = [{**SIZE, **SHARES, "method": m, "benchmark": b} for m, b in CELLS]
ROWS: dict[str, list[dict[str, object]]] = {
    "accuracy": [{**row, "pass_at_1": 93.333} for row in NAMED],
    "differences": [{**row, "difference": -3.3, "verdict": "undecided"} for row in NAMED[:40]],
    "policies": [
        {**row, "pass_at_1": 93.3, "speedup": 1.25, "dominated_by": "relaygen, spec_think"}
        for row in NAMED[:40]
    ],
    "speed": [{**SIZE, **SPEED, "method": method} for method in METHODS],
    "throughput": [
        {**SIZE, **LOAD, "method": method, "in_flight": n}
        for method in METHODS[:8]
        for n in (1, 4, 16, 64)
    ],
    "cue_ablation": [
        {**SIZE, **SHARES, "cue_set": m, "benchmark": "aime25", "pass_at_1": 90.0} for m in METHODS
    ],
    "answer_stage": [
        {"pair": "qwen3", "benchmark": b, "n": 120, "consistent_percent": 99.5} for b in BENCHMARKS
    ],
    "left_out": [{"pair": "qwen3", "left_out": "gpqa", "reason": "it is gated: accept its " * 9}],
}


def grid(name: str) -> Grid:
    """The printed table of a large run: 16 methods, 12 benchmarks."""
    beside_paper, as_grid = GRIDS[name]
    printed = yaml.safe_load(REFERENCE.read_text())
    return as_grid("qwen3", beside_paper(pl.DataFrame(ROWS[name]), printed))


@pytest.mark.parametrize("name", GRIDS)
def test_no_part_of_a_table_is_wider_than_a_page(name: str) -> None:
    table = grid(name)
    widths = [column_width(table, i) for i in range(len(table.header))]
    assert all(total([widths[i] for i in part]) <= PAGE_PT for part in parts(widths, PAGE_PT))


def compiled(document: str, folder: Path) -> str:
    """What LaTeX says of a document, less its end."""
    (folder / "page.tex").write_text(document + r"\end{document}", encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
@pytest.mark.parametrize("columns", ["onecolumn", "twocolumn"])
def test_tables_compile_as_they_are_without_an_overfull_box(columns: str, tmp_path: Path) -> None:
    tables = "\n".join(f"{latex(grid(name), name)}\\clearpage" for name in GRIDS)
    page = (
        rf"\documentclass[{columns}]{{article}}\usepackage{{booktabs}}\begin{{document}}x{tables}"
    )
    assert "Overfull" not in compiled(page, tmp_path)


NUMBERS = [{**ROWS["accuracy"][0], "pass_at_k": 96.6667, "majority_at_k": None}]


def test_numbers_have_the_names_and_the_digits_of_the_tables() -> None:
    text = numbers(pl.DataFrame(NUMBERS), pl.DataFrame(ROWS["speed"][:1]))
    assert r"\csname result@qwen3/large/aime25/pass_at_k\endcsname{96.7}" in text
    assert r"\csname result@qwen3/large/speed/speedup\endcsname{1.25}" in text
    assert "majority" not in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_a_number_is_printed_by_its_name_and_a_wrong_name_is_warned_of(tmp_path: Path) -> None:
    defined = numbers(pl.DataFrame(NUMBERS), pl.DataFrame(ROWS["speed"][:1]))
    text = r"\result{qwen3/large/speed/speedup} \result{qwen3/no_such}"
    shown = r"\typeout{It is \result{qwen3/large/speed/speedup}.}"
    said = compiled(rf"\documentclass{{article}}{defined}\begin{{document}}{text}{shown}", tmp_path)
    assert "It is 1.25." in said
    assert "No result has the name qwen3/no_such" in said


def test_a_table_says_what_it_needs_and_can_be_referred_to() -> None:
    text = latex(Grid("T", ["a"], [[Cell("b")]], "n = 3."), "speed-demo")
    assert text.startswith("% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n")
    assert "\\caption{T. n = 3.}\n\\label{tab:speed-demo}\n" in text


def test_a_table_without_rows_is_a_comment() -> None:
    assert latex(Grid("Left out", ["a", "b"], []), "left_out-demo") == "% Left out: none\n"


@pytest.mark.parametrize(("n", "digits"), [(1, 0), (100, 0), (120, 1), (1000, 1), (1500, 2)])
def test_percentages_have_the_digits_that_their_number_allows(n: int, digits: int) -> None:
    assert digits_of(n) == digits


def test_pass_at_1_of_30_problems_is_printed_without_decimals() -> None:
    few = pl.DataFrame(
        [{**row, "pass_at_1": 93.333, "n_repeats": 1, "paper": None} for row in NAMED]
    )
    assert GRIDS["accuracy"][1]("p", few).rows[0][1].text == "93"
