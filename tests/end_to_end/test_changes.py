"""What happens to a finished run when params.yaml changes, and when its results go elsewhere."""

import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests import scripted
from tests.end_to_end.conftest import TABLES, Resumed, run, succeed, write_params

pytestmark = pytest.mark.end_to_end

SNAKEMAKE = ("snakemake", "--cores", "2")


@contextmanager
def changed(folder: Path, old: str, new: str) -> Iterator[None]:
    """Another text in params.yaml, for a while."""
    file = folder / "params.yaml"
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new))
    try:
        yield
    finally:
        file.write_text(before)


def test_a_second_repro_is_up_to_date_within_5_seconds_of_a_core(repro: Path) -> None:
    begun = cpu_s_of_children()
    result = run(repro, "dvc", "repro")
    assert "Running stage 'prepare@demo'" not in result.stdout
    assert "Stage 'report' didn't change, skipping" in result.stdout
    assert cpu_s_of_children() - begun < 5


def cpu_s_of_children() -> float:
    """Return the seconds of a core that this process's children have taken so far."""
    taken = resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken.ru_utime + taken.ru_stime


def test_changing_the_selection_reruns_cues_and_nothing_before(repro: Path) -> None:
    with changed(repro, "min_delta: 0.0", "min_delta: 0.0001"):
        succeed(repro, "python", "-m", "stages.recipes")
        printed = run(repro, "dvc", "repro", "--dry").stdout
    ran = [line.split("'")[1] for line in printed.splitlines() if "Running stage" in line]
    assert "cues@demo" in ran
    assert not {"prepare@demo", "traces@demo", "margins@demo"} & set(ran)


def test_adding_a_method_and_its_module_asks_for_that_methods_answers_alone(repro: Path) -> None:
    line = "  all_cues: {kind: relay, large: large, small: small, cues: all}\ntables:"
    module = repro / "stages/methods/another.py"
    module.write_text('"""A kind of method."""\n')
    try:
        with changed(repro, "tables:", line):
            succeed(repro, "python", "-m", "stages.recipes")
            stale = json.loads(run(repro, "dvc", "status", "--json").stdout)
    finally:
        module.unlink()
    asks = ("infer", "ablation_infer", "traces", "answer_stage")
    assert [name for name in stale if name.startswith(asks)] == ["infer@demo-all_cues"]


def test_after_a_change_methods_are_asked_together_again(repro: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(repro, tmp_path / "copy", symlinks=True)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["relay"]["min_tokens"] += 1
    write_params(folder, params)
    log = folder / "requests.jsonl"

    def asked(stage: str) -> int:
        succeed(folder, "dvc", "repro", stage, SCRIPTED_LOG=str(log))
        return len(scripted.requests(log))

    of_all = asked("together@demo")
    assert of_all > 0
    assert asked("infer@demo-relaygen") == asked("infer@demo-relaygen_eagle3") == of_all


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
    else:
        refused(resumed.folder, SNAKEMAKE, old, new, message)


def refused(folder: Path, command: tuple[str, ...], old: str, new: str, message: str) -> None:
    """With `old` as `new` in params.yaml, `command` fails with `message` and no table changes."""
    table = (folder / TABLES[0]).read_bytes()
    with changed(folder, old, new):
        result = run(folder, *command)
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert message in output
    assert "Traceback" not in output
    assert (folder / TABLES[0]).read_bytes() == table


def test_a_selection_that_leaves_no_cue_is_one_line_and_changes_no_result(repro: Path) -> None:
    message = "no cue is left after selection"
    refused(repro, ("dvc", "repro"), "min_delta: 0.0", "min_delta: 0.99", message)
    succeed(repro, "dvc", "repro")


def test_a_clone_that_pulled_rebuilds_tables_and_figures_without_an_engine(
    repro: Path, tmp_path: Path
) -> None:
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    succeed(repro, "dvc", "remote", "add", "-f", "-d", "here", str(remote))
    succeed(repro, "dvc", "push")
    ignore = shutil.ignore_patterns("results", "store", ".snakemake", "logs", "cache", "tmp")
    shutil.copytree(repro, clone, ignore=ignore, symlinks=True)
    succeed(clone, "dvc", "pull")
    assert "Stage 'report' didn't change, skipping" in succeed(clone, "dvc", "repro")
    (clone / "results/tables/accuracy.csv").unlink()
    succeed(clone, "dvc", "repro", "--force", "--single-item", "tables", "figures@demo", "report")
    for table in TABLES:
        assert (clone / table).read_bytes() == (repro / table).read_bytes()
    assert not list((clone / "logs").rglob("engine-*.log"))
