"""A new pair in params.yaml: what is found out, and what stays as it is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from stages.config.params import load
from stages.problems.pair_new import BENCHMARK, add, engine, found_out, text_of
from stages.runtime.errors import UserError
from stages.runtime.main import app
from tests.unit.test_pair_fit import CONTENT, Folders, config, folders, renamed, template

__all__ = ["folders"]  # a fixture
pytestmark = pytest.mark.unit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A copy of params.yaml."""
    return Path(shutil.copy2("params.yaml", tmp_path))


def block(folders: Folders, *benchmarks: str, **decided: Any) -> dict[str, Any]:
    """What is found out of two models."""
    engines = {role: engine(str(folders[role])) for role in ("large", "small")}
    return found_out({"engines": engines, **decided}, "amc23", list(benchmarks or [BENCHMARK]))


def test_the_file_has_one_valid_pair_more_and_is_otherwise_as_it_was(
    folders: Folders, file: Path
) -> None:
    before = file.read_text()
    add(file, "mine", block(folders))
    after = file.read_text()
    assert after.replace(text_of("mine", block(folders)) + "\n", "") == before
    pair = load(file).pair("mine")
    assert pair.engines["large"].model == str(folders["large"])
    assert (pair.family.think_end, pair.cues) == ("</think>", "mined")


def test_an_answer_is_as_long_as_both_models_can_read(folders: Folders) -> None:
    config("large", max_position_embeddings=40960)(folders)
    config("small", max_position_embeddings=8192)(folders)
    found = block(folders)
    assert (found["budget"], found["max_model_len"]) == (6144, 8192)


def test_a_budget_that_is_decided_stays(folders: Folders) -> None:
    found = block(folders, budget=100)
    assert (found["budget"], found["max_model_len"]) == (100, 2048)


def test_a_budget_beyond_the_models_is_refused(folders: Folders) -> None:
    with pytest.raises(UserError, match="has a context of 2048 tokens, max_model_len is 3001"):
        block(folders, budget=3000)


def test_sampling_is_what_the_large_models_files_recommend(folders: Folders) -> None:
    advice = {"temperature": 1, "top_k": 40, "min_p": 0.05, "do_sample": True, "max_length": 9}
    (folders["large"] / "generation_config.json").write_text(json.dumps(advice))
    found = block(folders)["sampling"]
    assert found == {"temperature": 1.0, "top_p": 0.95, "top_k": 40, "min_p": 0.05}


def test_models_without_think_tags_get_the_family_whose_prompts_ask_for_the_end(
    folders: Folders,
) -> None:
    renamed("</think>", "</reason>", "large", "small")(folders)
    template(CONTENT)(folders)
    assert block(folders)["family"] == "untagged"


def test_files_of_problems_may_stand_beside_sets_of_the_catalogue(
    folders: Folders, tmp_path: Path, file: Path
) -> None:
    choice = tmp_path / "colours.jsonl"
    choice.write_text('{"problem": "Red?", "choices": ["yes", "no"], "answer": "A"}\n')
    add(file, "mine", block(folders, "aime25", "data/example.jsonl", str(choice)))
    found = load(file).pair("mine").benchmarks
    assert list(found) == ["aime25", "example", "colours"]
    assert [one.scoring for one in found.values()] == ["math", "math", "choice"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("demo", "there is a pair 'demo': choose another name"),
        ("tables", r"pairs\.tables: results/ and logs/ use the names"),
        ("a b", r"pairs\.a b: a name has up to 64 letters"),
    ],
)
def test_a_name_that_is_not_fit_leaves_the_file_as_it_is(
    folders: Folders, file: Path, name: str, message: str
) -> None:
    before = file.read_text()
    with pytest.raises(UserError, match=message) as caught:
        add(file, name, block(folders))
    assert str(caught.value).startswith(f"{file}: ")
    assert file.read_text() == before


def test_a_file_that_is_not_written_in_lines_is_left_alone(folders: Folders, file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    content["pairs"] = {"demo": content["pairs"]["demo"]}
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="no line `pairs:` to write below; add it yourself"):
        add(file, "mine", block(folders))


def test_models_that_cannot_be_a_pair_are_not_added(folders: Folders, file: Path) -> None:
    (folders["small"] / "tokenizer.json").unlink()
    before = file.read_text()
    models = ["--large", str(folders["large"]), "--small", str(folders["small"])]
    command = ["pair", "new", "mine", *models, "--params", str(file)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: not a pair: small: ")
    assert file.read_text() == before


def test_the_command_says_what_comes_next(folders: Folders, file: Path) -> None:
    models = ["--large", str(folders["large"]), "--small", str(folders["small"])]
    result = CliRunner().invoke(app, ["pair", "new", "mine", *models, "--params", str(file)])
    assert result.stdout == (
        f"{file}: pair 'mine' added; to run it: `run: [mine]`, then `relaygen plan`\n"
    )
    assert "mine" in load(file).pairs
