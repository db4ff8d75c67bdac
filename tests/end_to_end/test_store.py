"""What is asked of engines after a change to a finished run, counted at the engines."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import yaml

from demo_pair import task
from tests import scripted
from tests.conftest import TOKENIZER
from tests.end_to_end.conftest import (
    Resumed,
    held,
    relaygen,
    run,
    started,
    succeed,
    until,
    write_params,
)

pytestmark = pytest.mark.end_to_end

SNAKEMAKE = ("snakemake", "--cores", "2")
LOG = "requests.jsonl"


@pytest.fixture
def copy(resumed: Resumed, tmp_path: Path) -> Path:
    """A finished checkout to change."""
    return shutil.copytree(resumed.folder, tmp_path / "copy", symlinks=True)


def asked(folder: Path, *targets: str) -> Counter[str]:
    """Have Snakemake make `targets`; returns how many answers were asked for, by model.

    A model with a draft head has a plus behind its name.
    """
    log = folder / LOG
    succeed(folder, *SNAKEMAKE, *targets, SCRIPTED_LOG=str(log))
    answers = {
        (line["salt"], f"{Path(line['model']).name}{'+' if line['drafts'] else ''}")
        for line in scripted.requests(log)
    }
    return Counter(model for _, model in answers)


def change(folder: Path, **pair: object) -> None:
    """Other settings of the pair."""
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["pairs"]["demo"].update(pair)
    write_params(folder, params)


def test_one_more_benchmark_asks_for_its_new_problems_alone(copy: Path) -> None:
    params = yaml.safe_load((copy / "params.yaml").read_text())
    known = next(task.problems("chains_short", 1, params["seed"]))
    new = task.problems("chains_calibration", 3, seed=1)
    rows = [{"problem": one.question, "answer": one.answer} for one in (known, *new)]
    (copy / "own.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    own = {"source": "file", "path": "own.jsonl", "scoring": "math"}
    change(copy, benchmarks={**params["pairs"]["demo"]["benchmarks"], "own": own})
    # Two relays and a model alone each; the small model also writes the large one's answer stages.
    assert asked(copy) == {"small": 3 * 4, "large": 3 * 2, "large+": 3}
    table = pl.read_csv(copy / "results/tables/accuracy.csv")
    assert table.filter(benchmark="own")["n_problems"].to_list() == 4 * [4]


def test_a_second_repeat_asks_for_as_many_answers_again(copy: Path) -> None:
    change(copy, repeats=2)
    assert asked(copy, "results/demo/generations/small") == {"small": 6}
    answers = pl.read_parquet(copy / "results/demo/generations/small/chains_long.parquet")
    assert answers["repeat"].to_list() == [0, 1, 0, 1]


def test_lost_results_are_put_together_from_the_store(copy: Path, resumed: Resumed) -> None:
    shutil.rmtree(copy / "results")
    assert asked(copy, "results/demo/scores.parquet") == {}
    lost, again = (
        pl.read_parquet(folder / "results/demo/scores.parquet") for folder in (resumed.folder, copy)
    )
    assert again.equals(lost)


def test_an_edit_to_what_puts_answers_together_asks_for_none(copy: Path) -> None:
    with (copy / "stages/merge.py").open("a") as module:
        module.write("\nX = 1\n")
    assert asked(copy, "results/demo/generations/relaygen") == {}
    printed = run(copy, *SNAKEMAKE, "--dry-run", "results/demo/generations/relaygen")
    assert "Nothing to be done" in printed.stdout + printed.stderr


def test_a_second_run_in_one_checkout_says_so_in_one_line(copy: Path) -> None:
    change(copy, budget=1000)
    target = "results/demo/generations/small"
    log = copy / "logs/demo/infer-small-0/engine-small.log"
    log.unlink()
    with held(copy, 0), started(copy, *SNAKEMAKE, target):
        until(lambda: log.exists() and log.stat().st_size, "engine")
        second = run(copy, *SNAKEMAKE, target)
    said = second.stdout + second.stderr
    assert second.returncode != 0
    assert re.search("^another run is under way in this folder .*: wait until", said, re.MULTILINE)
    assert "Traceback" not in said


def test_results_of_snakemake_are_recorded_where_they_are_up_to_date(copy: Path) -> None:
    assert relaygen(copy, "record").returncode == 0
    assert set(json.loads(succeed(copy, "dvc", "status", "--json"))) == {"recipes"}
    with (copy / "stages/score.py").open("a") as module:
        module.write("\nX = 1\n")
    recorded = relaygen(copy, "record")
    assert "score" in recorded.stdout + recorded.stderr
    assert "score@demo" in json.loads(succeed(copy, "dvc", "status", "--json"))


def test_traces_that_are_there_already_give_the_same_cues_and_nothing_is_asked(copy: Path) -> None:
    results = copy / "results/demo"
    cues = (results / "cues.csv").read_bytes()
    traces = pl.read_parquet(results / "traces.parquet", columns=["prompt_ids", "text"])
    lines = [
        json.dumps({"prompt": TOKENIZER.decode(ids, skip_special_tokens=False), "text": text})
        for ids, text in traces.iter_rows()
    ]
    (copy / "ours.jsonl").write_text("\n".join(lines))
    change(copy, calibration={"ours": {"source": "traces", "path": "ours.jsonl"}})
    assert not asked(copy, "results/demo/cues.csv")
    assert pl.read_parquet(results / "traces.parquet")["text"].to_list() == traces["text"].to_list()
    assert (results / "cues.csv").read_bytes() == cues
