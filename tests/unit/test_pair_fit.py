"""Whether two models can be a pair: what is wrong is one line, before an engine starts."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from stages.config.params import load
from stages.config.schema import Pair
from stages.perf import probe
from stages.problems import pair_fit
from stages.problems.fit import context_of
from stages.problems.pair_fit import findings
from stages.problems.pair_new import from_models
from stages.runtime.errors import UserError
from stages.runtime.main import app
from tests.conftest import raising

pytestmark = pytest.mark.unit
MODELS = ("large", "small", "eagle3", "draft")
Folders = dict[str, Path]
Spoil = Callable[[Folders], object]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Copies of the bundled models, to spoil; their weights are links."""
    found = {role: tmp_path / role for role in MODELS}
    for role, folder in found.items():
        bundled = Path("demo_pair", "small" if role == "draft" else role)
        shutil.copytree(bundled, folder, ignore=shutil.ignore_patterns("*.safetensors"))
        (folder / "model.safetensors").symlink_to((bundled / "model.safetensors").resolve())
    return found


def drafted(model: str, method: str, drafter: str) -> dict[str, Any]:
    """A model and what drafts for it."""
    return {"model": model, "speculation": {"method": method, "model": drafter, "tokens": 3}}


def pair_of(folders: Folders, **more: Any) -> Pair:
    """The pair of these folders."""
    large, small, head, drafts = (str(folders[role]) for role in MODELS)
    engines = {
        "large": large,
        "small": small,
        "eagle3": drafted(large, "eagle3", head),
        "draft": drafted(large, "draft_model", drafts),
    }
    usual = {"engines": engines, "benchmarks": ["aime25"], "budget": 1000, "max_model_len": 2048}
    return Pair.model_validate({**usual, **more})


def wrong(pair: Pair) -> list[str]:
    """What is wrong with a pair, a line each."""
    return [finding.text for finding in findings(pair) if finding.verdict == "wrong"]


def test_nothing_is_wrong_with_the_bundled_pair() -> None:
    found = findings(load(Path("params.yaml")).pair("demo"))
    assert {finding.verdict for finding in found} == {"ok"}
    assert len(found) > 8


def test_the_command_ends_with_1_if_something_is_wrong(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders["small"] / "config.json").unlink()
    args = ["--large", str(folders["large"]), "--small", str(folders["small"])]
    result = CliRunner().invoke(app, ["pair", "check", *args])
    assert result.exit_code == 1
    assert result.stdout.startswith(f"wrong  small: {folders['small']}/config.json: no such file")
    assert CliRunner().invoke(app, ["pair", "check", "demo"]).exit_code == 0


def test_two_models_are_needed() -> None:
    with pytest.raises(UserError, match="or both --large and --small"):
        from_models("demo_pair/large", None, None, 1000)


# Forty ways to be wrong.


def write(role: str, file: str, content: str | bytes) -> Spoil:
    """Another content of a file."""

    def spoil(folders: Folders) -> None:
        path = folders[role] / file
        path.unlink(missing_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def remove(role: str, file: str) -> Spoil:
    """No such file."""
    return lambda folders: (folders[role] / file).unlink()


def config(role: str, **changes: Any) -> Spoil:
    """Another config.json; None: without this key."""

    def spoil(folders: Folders) -> None:
        path = folders[role] / "config.json"
        content = json.loads(path.read_text()) | changes
        kept = {key: value for key, value in content.items() if value is not None}
        path.write_text(json.dumps(kept))

    return spoil


def tokenizer(change: Callable[[dict[str, Any]], object], *roles: str) -> Spoil:
    """Another tokenizer.json."""

    def spoil(folders: Folders) -> None:
        for role in roles:
            path = folders[role] / "tokenizer.json"
            content = json.loads(path.read_text())
            change(content)
            path.write_text(json.dumps(content))

    return spoil


def template(text: str) -> Spoil:
    """Another chat template of the large model."""
    return write("large", "chat_template.jinja", text)


def renamed(old: str, new: str, *roles: str) -> Spoil:
    """Another name for an added token."""

    def change(content: dict[str, Any]) -> None:
        for token in content["added_tokens"]:
            if token["content"] == old:
                token["content"] = new

    return tokenizer(change, *roles)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
CONTENT = "{{ messages[0].content }}"
INDEX = json.dumps({"weight_map": {"a": "model-1-of-2.safetensors", "b": "model.safetensors"}})
BOTH = ("large", "small")
WRONG: dict[str, tuple[Spoil, str]] = {
    "no folder": (lambda folders: shutil.rmtree(folders["small"]), "small/config.json: no such"),
    "no config": (remove("small", "config.json"), "small/config.json: no such file"),
    "no tokenizer": (remove("small", "tokenizer.json"), "small/tokenizer.json: no such file"),
    "no weights": (remove("small", "model.safetensors"), "small: no weights in it"),
    "no config of the head": (remove("eagle3", "config.json"), "eagle3/config.json: no such file"),
    "no weights of the head": (remove("eagle3", "model.safetensors"), "eagle3: no weights in it"),
    "a config that is a pointer": (write("small", "config.json", POINTER), "a pointer of Git LFS"),
    "weights that are a pointer": (
        write("small", "model.safetensors", POINTER), "model.safetensors: a pointer of Git LFS",
    ),
    "a tokenizer that is a pointer": (
        write("large", "tokenizer.json", POINTER), "tokenizer.json: a pointer of Git LFS",
    ),
    "a head that is a pointer": (
        write("eagle3", "model.safetensors", POINTER), "eagle3: .*a pointer of Git LFS",
    ),
    "empty weights": (write("small", "model.safetensors", ""), "an empty file: fetch it again"),
    "torn weights": (write("small", "model.safetensors", b"\x10" + b"\0" * 7 + b"{}"), "broken"),
    "a shard that is missing": (
        write("small", "model.safetensors.index.json", INDEX), "model-1-of-2.safetensors: no such",
    ),
    "a broken index": (
        write("small", "model.safetensors.index.json", "{"), r"index\.json: not valid JSON",
    ),
    "a config that is no JSON": (write("small", "config.json", "{"), "not valid JSON"),
    "a config that is a list": (write("small", "config.json", "[]"), "not a map of keys"),
    "a config in another encoding": (
        write("small", "config.json", '{"a": "é"}'.encode("latin-1")), "not valid JSON",
    ),
    "a config whose end is missing": (
        write("small", "config.json", '{"architectures": ["Qwen3For'), "not valid JSON",
    ),
    "an empty config": (write("small", "config.json", "{}"), "names no architecture"),
    "no architecture": (config("small", architectures=None), "small: .*names no architecture"),
    "an architecture of tomorrow": (
        config("small", architectures=["Qwen9ForCausalLM"]), "does not serve Qwen9ForCausalLM",
    ),
    "a tokenizer that is none": (
        write("small", "tokenizer.json", '{"version": "1.0"}'), "not a tokenizer.json",
    ),
    "one merge less": (
        tokenizer(lambda content: content["model"]["merges"].pop(), "small"),
        r"tokenizers of 'large' and 'small' differ \(model\)",
    ),
    "two merges in another order": (
        tokenizer(lambda content: content["model"]["merges"].reverse(), "small"),
        r"tokenizers of 'large' and 'small' differ \(model\)",
    ),
    "another pre-tokenizer": (
        tokenizer(
            lambda content: content.update(pre_tokenizer={"type": "WhitespaceSplit"}), "small"
        ),
        r"differ \(pre_tokenizer\)",
    ),
    "no normalizer": (
        tokenizer(lambda content: content.update(normalizer=None), "small"),
        r"differ \(normalizer\)",
    ),
    "another decoder": (
        tokenizer(lambda content: content.update(decoder={"type": "Fuse"}), "small"),
        r"differ \(decoder\)",
    ),
    "another end tag in one": (
        renamed("</think>", "</thinks>", "small"), r"differ \(added_tokens\)",
    ),
    "one added token less": (
        tokenizer(lambda content: content["added_tokens"].pop(), "small"),
        r"differ \(added_tokens",
    ),
    "a class that changes the tokenizer": (
        write("large", "tokenizer_config.json", '{"tokenizer_class": "LlamaTokenizerFast"}'),
        "transformers does not do what its tokenizer.json says",
    ),
    "no chat template": (template(""), "has no chat template"),
    "a template that fails": (template("{{ raise_exception('No.') }}"), "chat template fails"),
    "a template that is no Jinja": (template("{% if"), "chat template fails"),
    "a template without the message": (template("Hello<think></think>"), "leaves out the message"),
    "a template that ends the reasoning in the prompt": (
        template("{{ messages[0].content }}</think>"), "thinking is off: change template_args",
    ),
    "a template for other arguments": (
        template("{{ messages[0].content + no_such_argument.text }}"), "chat template fails",
    ),
    "a template with thinking off": (
        template(CONTENT + "<think>\n\n</think>\n\n"), "thinking is off: change template_args",
    ),
    "an end tag that nothing writes": (
        lambda folders: [spoil(folders) for spoil in (
            renamed("</think>", "</reason>", *BOTH), template(CONTENT),
        )],
        "nothing makes it write '</think>'",
    ),
    "ids that the small model lacks": (
        config("small", vocab_size=600), "small: the tokenizer has ids up to 644, .* knows 600",
    ),
    "a head of another width": (config("eagle3", hidden_size=7), "the draft head .* hidden_size"),
    "a head of another vocabulary": (
        config("eagle3", vocab_size=7), "the draft head .* has vocab_size 7",
    ),
    "a head that is too short": (
        config("eagle3", max_position_embeddings=512), "was made for 512 positions",
    ),
    "no tokenizer of the draft model": (
        remove("draft", "tokenizer.json"), "draft/tokenizer.json: no such file",
    ),
    "a draft model of another vocabulary": (
        config("draft", vocab_size=648), "the draft model .* has vocab_size 648, the model .* 645",
    ),
    "a draft model of another tokenizer": (
        tokenizer(lambda content: content["model"]["merges"].reverse(), "draft"),
        r"tokenizers of the draft model .* and of .* differ \(model\)",
    ),
    "a draft model that is too short": (
        config("draft", max_position_embeddings=512), "draft: .* was made for 512 positions",
    ),
    "a short small model": (
        config("small", max_position_embeddings=512), "small: .* has a context of 512 tokens",
    ),
    "a short large model": (
        config("large", max_position_embeddings=512), "large: .* has a context of 512 tokens",
    ),
}  # fmt: skip


def test_there_are_forty_of_them() -> None:
    assert len(WRONG) >= 40


def test_the_speeds_of_a_wrong_pair_are_not_measured(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "measure", raising(AssertionError("engines were started")))
    (folders["large"] / "config.json").unlink()
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["pairs"]["demo"]["engines"]["large"] = str(folders["large"])
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(params))
    result = CliRunner().invoke(app, ["pair", "check", "demo", "--probe", "--params", str(file)])
    assert result.exit_code == 1
    assert result.stdout.startswith("wrong  large: ")


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_pair_is_one_line(
    folders: Folders, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", raising(AssertionError("a process was started")))
    spoil, message = WRONG[name]
    spoil(folders)
    pair = pair_of(folders)
    extra = {"head": "eagle3", "draft model": "draft"}
    roles = ["large", "small", *(role for words, role in extra.items() if words in name)]
    engines = {role: pair.engines[role] for role in roles}
    (line,) = wrong(pair.model_copy(update={"engines": engines}))
    assert re.search(message, line)
    assert "\n" not in line


def test_an_answer_needs_room_for_its_prompt(folders: Folders) -> None:
    (line,) = wrong(pair_of(folders, budget=2048))
    assert line.startswith("max_model_len 2048 leaves no room for a prompt beside the budget 2048")


def test_a_family_whose_prompts_ask_for_the_end_needs_no_tag(folders: Folders) -> None:
    asks = "{problem} Then write a line that begins with Answer:"
    family = {
        "think_end": "Answer:",
        "prompts": {"plain": {"math": asks, "choice": asks}},
    }
    assert wrong(pair_of(folders, family=family)) == []


def test_without_vllm_architectures_are_not_judged(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    config("small", architectures=["Qwen9ForCausalLM"])(folders)
    monkeypatch.setattr(pair_fit, "known_architectures", frozenset)
    found = [finding for finding in findings(pair_of(folders)) if finding.verdict != "ok"]
    assert {finding.verdict for finding in found} == {"look"}


@pytest.mark.parametrize(
    ("changes", "reach"),
    [
        ({}, 4096),
        ({"rope_scaling": {"factor": 4.0}}, 16384),
        ({"rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 2048}}, 8192),
        ({"rope_parameters": {"rope_theta": 1e6}}, 4096),
        ({"max_position_embeddings": None}, None),
    ],
)
def test_a_context_is_as_long_as_it_was_stretched(
    changes: dict[str, Any], reach: int | None
) -> None:
    assert context_of({"max_position_embeddings": 4096} | changes) == reach
