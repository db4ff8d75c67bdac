"""Problem sets: their prompts, and what is checked before anything is started."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from transformers import AutoTokenizer

from demo_pair import task
from stages import prepare
from stages.config.families import FOLDER, Family, Scoring, whole
from stages.config.params import load
from stages.config.schema import AsReleased, Drafter, Model, Pair, Params
from stages.config.settings import Settings
from stages.engine import models
from stages.engine.hub import UnavailableError
from stages.methods.base import PromptName
from stages.problems import sources
from stages.problems.availability import reasons
from stages.problems.fit import check_drafter, check_models, draft_sizes
from stages.problems.prompts import SCHEMA, check_lengths, problem_set, render
from stages.problems.wordings import template
from stages.runtime.errors import UserError
from stages.tracking.digests import of_value
from stages.tracking.frames import read_parquet
from stages.tracking.notes import read_provenance
from stages.tracking.resolving import settings_of
from stages.tracking.targets import Target
from tests.conftest import TOKENIZER, encode

pytestmark = pytest.mark.unit
FAMILIES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
REVISION, OTHER = "0123456789abcdef" * 2 + "01234567", "f" * 40
# The format of the library speculators, with the sizes of a head for Qwen3-32B.
SPECULATOR = {
    "architectures": ["Eagle3Speculator"],
    "draft_vocab_size": 32000,
    "speculators_model_type": "eagle3",
    "target_hidden_size": None,
    "transformer_layer_config": {
        "hidden_size": 5120,
        "model_type": "llama",
        "num_hidden_layers": 1,
        "vocab_size": 151936,
    },
}


@pytest.fixture(scope="module")
def params() -> Params:
    return load(Path("params.yaml"))


@pytest.fixture(scope="module")
def pair(params: Params) -> Pair:
    return params.pair("demo")


def settings(params: Params, name: str, n_problems: int | None = None, **more: Any) -> Settings:
    """What the stage knows of a problem set, with other settings than in params.yaml."""
    found = settings_of(params, Target("prepare", "demo", name))
    if n_problems:
        more["problem_set"] = found.problem_set.model_copy(update={"n_problems": n_problems})
    return found.model_copy(update=more)


def frame() -> pl.DataFrame:
    """A prompt of ten tokens, and of nine in other words."""
    return pl.DataFrame(
        {"problem_id": [4], "prompt_ids": [[1] * 10], "steps_prompt_ids": [[1] * 9]}
    )


@pytest.mark.parametrize(
    ("name", "scoring", "ids"),
    [("chains_long", "math", "59d3da4943043d9c"), ("chains_choice", "choice", "7a7e4bce4635e4e8")],
)
def test_the_bundled_pair_is_asked_in_the_tokens_it_was_trained_on(
    params: Params, name: str, scoring: Scoring, ids: str
) -> None:
    frame, _ = problem_set(name, settings(params, name, n_problems=5))
    assert settings(params, name).problem_set.scoring == scoring
    trained_on = [problem.prompt for problem in task.problems(name, 5, params.seed)]
    assert frame["prompt"].to_list() == trained_on
    assert of_value(frame["prompt_ids"].to_list()) == ids


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", get_args(PromptName))
@pytest.mark.parametrize("scoring", get_args(Scoring))
def test_every_family_is_asked_for_a_boxed_answer_to_either_kind_of_problem(
    pair: Pair, family: str, name: PromptName, scoring: Scoring
) -> None:
    of_family = Family.model_validate(whole(family))
    words = template(pair.model_copy(update={"family": of_family}), name, scoring)
    assert words.startswith("{problem}")
    assert words.endswith(r"within \boxed{}.")


@pytest.mark.parametrize(
    ("scoring", "ending"), [("math", "within \x08oxed{}."), ("choice", r"within \boxed{}.")]
)
def test_as_released_a_math_prompt_alone_has_a_backspace_for_its_box(
    pair: Pair, scoring: Scoring, ending: str
) -> None:
    as_released = pair.model_copy(
        update={"as_released": AsReleased(prompt=True, options=False, margins=False, handoff=False)}
    )
    assert template(as_released, "plain", scoring).endswith(ending)


def test_the_steps_prompt_asks_for_blank_lines_between_them(params: Params) -> None:
    frame, _ = problem_set("chains_long", settings(params, "chains_long", n_problems=1))
    ids = frame["steps_prompt_ids"][0].to_list()
    text = TOKENIZER.decode(ids, skip_special_tokens=False)
    assert "separate the steps by blank lines" in text


def with_template(pair: Pair, folder: Path, jinja: str) -> Pair:
    """The pair with another chat template for its large model."""
    shutil.copytree(pair.engines["large"].model, folder, dirs_exist_ok=True)
    (folder / "chat_template.jinja").write_text(jinja)
    engines = {**pair.engines, "large": Model(model=str(folder))}
    return pair.model_copy(update={"engines": engines})


def chats_of(served: Model, **family: Any) -> Settings:
    """What is known of a model's chats; `family`: where the pair's says otherwise."""
    usual = {"template_args": {"enable_thinking": True}, "template_opens": None}
    tags = {"think_start": "<think>", "think_end": "</think>"}
    return Settings.model_construct(tokenizer=served, **tags | usual | family)


def rendered(pair: Pair, **family: Any) -> str:
    """A question's prompt, decoded."""
    (ids,) = render(["What is 1 + 1?"], chats_of(pair.engines["large"], **family))
    return str(TOKENIZER.decode(ids, skip_special_tokens=False))


def test_a_template_that_opens_the_reasoning_is_left_to_do_so_once(
    pair: Pair, tmp_path: Path
) -> None:
    jinja = "{{ messages[0].content }}{% if add_generation_prompt %}<think>\n{% endif %}"
    assert rendered(with_template(pair, tmp_path, jinja)) == "What is 1 + 1?<think>\n"


def test_thinking_is_on_where_a_template_asks(pair: Pair, tmp_path: Path) -> None:
    jinja = "{{ messages[0].content }}{% if not enable_thinking %}<think></think>{% endif %}"
    assert rendered(with_template(pair, tmp_path, jinja)) == "What is 1 + 1?"


def test_a_template_gets_the_arguments_of_the_family(pair: Pair, tmp_path: Path) -> None:
    jinja = "{{ messages[0].content }} {{ effort }}"
    changed = with_template(pair, tmp_path, jinja)
    assert rendered(changed, template_args={"effort": "high"}) == "What is 1 + 1? high"


@pytest.mark.parametrize(
    ("jinja", "opens", "ending"), [("<think>\n", False, "ends"), ("", True, "does not end")]
)
def test_a_template_that_opens_the_reasoning_otherwise_than_the_family_says_is_refused(
    pair: Pair, tmp_path: Path, jinja: str, opens: bool, ending: str
) -> None:
    changed = with_template(pair, tmp_path, "{{ messages[0].content }}" + jinja)
    with pytest.raises(
        UserError, match=f"chat template {ending} with '<think>', the pair's family"
    ):
        rendered(changed, template_opens=opens)


CONTROLS = ("<|im_end|>", "<|im_start|>", "<|endoftext|>", "<think>", "</think>")


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_token_in_a_problem_is_text(pair: Pair, name: str) -> None:
    prompt, usual = f"What is {name} 1?", "What is 1?"
    ids, plain = render([prompt, usual], chats_of(pair.engines["large"]))
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == TOKENIZER.decode(
        plain, skip_special_tokens=False
    ).replace(usual, prompt)
    (control,) = encode(name)
    assert ids.count(control) == plain.count(control)


def test_a_prompt_beside_one_with_a_control_token_is_read_as_ever(pair: Pair) -> None:
    usual = ["What is 1 + 1?", "And 2?"]
    chats = chats_of(pair.engines["large"])
    assert render(["<|im_end|>", *usual], chats)[1:] == render(usual, chats)


def test_a_model_on_the_hub_is_asked_for_its_template_at_its_revision(
    pair: Pair, hub: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    local = AutoTokenizer.from_pretrained(pair.engines["large"].model)

    def from_pretrained(name: str, **settings: Any) -> Any:
        asked.append((name, settings))
        return local

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", from_pretrained)
    on_hub = Model(model="Owner/large", revision=REVISION)
    ids = render(["What is 1 + 1?"], chats_of(on_hub))
    assert ids == render(["What is 1 + 1?"], chats_of(pair.engines["large"]))
    assert asked == [
        ("Owner/large", {"revision": REVISION, "local_files_only": False}),
        ("demo_pair/large", {"revision": "main", "local_files_only": True}),
    ]


def test_a_tokenizer_that_cannot_be_loaded_is_one_line(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_pretrained(*_: Any, **__: Any) -> Any:
        raise OSError("We couldn't connect to the hub\nto load the files")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", from_pretrained)
    with pytest.raises(UserError) as caught:
        render(["What is 1 + 1?"], chats_of(pair.engines["large"]))
    assert str(caught.value) == (
        "demo_pair/large: cannot load its tokenizer "
        "(We couldn't connect to the hub to load the files)"
    )


def test_a_model_without_a_chat_template_is_named(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path} has no chat template"):
        rendered(with_template(pair, tmp_path, ""))


def gated(monkeypatch: pytest.MonkeyPatch, benchmark: str) -> None:
    """`benchmark` may not be read; the others are loaded as ever."""
    load_others = sources.load

    def refuse(name: str, *rest: object) -> object:
        if name == benchmark:
            raise UnavailableError("Owner/set is gated")
        return load_others(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(sources, "load", refuse)


def run(monkeypatch: pytest.MonkeyPatch, out: Path, *more: str) -> None:
    """The stage prepare."""
    monkeypatch.setattr(sys, "argv", ["prepare", "--pair", "demo", "--out", str(out), *more])
    prepare.main()


def test_a_gated_benchmark_is_left_out_with_its_reason_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gated(monkeypatch, "chains_choice")
    run(monkeypatch, tmp_path)
    rows = {file.stem: len(pl.read_parquet(file)) for file in tmp_path.glob("*.parquet")}
    assert rows == {
        "chains_calibration": 70, "chains_short": 30, "chains_long": 60, "chains_choice": 0,
    }  # fmt: skip
    assert reasons(tmp_path, rows) == {"chains_choice": "Owner/set is gated"}
    assert (tmp_path / "tokenizer.json").is_file()
    assert capsys.readouterr().err.startswith(
        "warning: chains_choice is left out: Owner/set is gated; then prepare it again"
    )


def test_a_problem_set_by_itself_says_where_it_comes_from_and_by_which_recipe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(monkeypatch, tmp_path, "--set", "chains_short")
    (file,) = tmp_path.iterdir()
    assert read_parquet(file).schema == SCHEMA
    origin = read_provenance(file)
    assert (origin["source"], origin["n_problems"]) == ("demo_pair", 30)
    assert origin["recipe"]["target"] == ["prepare", "demo", "chains_short"]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("chains_calibration", "the calibration set"),
        ("chains_long", "the pair's ablation_benchmark"),
        ("chains_short", "the pair's speed_benchmark"),
    ],
)
def test_a_gated_set_that_nothing_goes_without_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, role: str
) -> None:
    gated(monkeypatch, name)
    with pytest.raises(UserError, match=f"{name} is {role}, and Owner/set is gated"):
        run(monkeypatch, tmp_path, "--set", name)
    assert list(tmp_path.iterdir()) == []


def test_a_budget_smaller_than_the_prompt_is_refused(params: Params) -> None:
    small = settings(params, "chains_short", budget=9)
    with pytest.raises(UserError, match=r"budget 9 is smaller .*amc, problem 4: 10 tokens"):
        check_lengths("amc", frame(), small)


def test_prompt_and_budget_must_fit_the_context(params: Params, pair: Pair) -> None:
    short = settings(params, "chains_short", max_model_len=pair.budget + 9)
    with pytest.raises(UserError, match="exceed max_model_len"):
        check_lengths("amc", frame(), short)


def test_a_missing_model_folder_is_named(pair: Pair) -> None:
    lost = pair.model_copy(update={"engines": {**pair.engines, "small": Model(model="no/model")}})
    with pytest.raises(UserError, match=r"pairs\.demo\.engines\.small: no model in no/model"):
        check_models(lost.engines, "demo")


def test_tokenizers_that_differ_are_refused(pair: Pair, tmp_path: Path) -> None:
    shutil.copytree(pair.engines["small"].model, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text.replace("</think>", "</thinks>"))
    small = Model(model=str(tmp_path))
    other = pair.model_copy(update={"engines": {**pair.engines, "small": small}})
    message = r"tokenizers of 'large' and 'small' differ \(added_tokens\)"
    with pytest.raises(UserError, match=message):
        check_models(other.engines, "demo")
    small_first = dict(sorted(other.engines.items(), reverse=True))
    with pytest.raises(UserError, match=message):
        check_models(small_first, "demo")


def with_tokenizer(pair: Pair, role: str, folder: Path, **parts: Any) -> dict[str, Model]:
    """The pair's engines with other parts of tokenizer.json for one of them."""
    shutil.copytree(pair.engines[role].model, folder, dirs_exist_ok=True)
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(content | parts))
    return {**pair.engines, role: Model(model=str(folder))}


WHITESPACE = {"type": "WhitespaceSplit"}


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("normalizer", None),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [WHITESPACE]}),
        ("decoder", {"type": "Fuse"}),
        ("post_processor", None),
    ],
)
def test_one_vocabulary_is_not_one_tokenizer(
    pair: Pair, tmp_path: Path, part: str, content: Any
) -> None:
    engines = with_tokenizer(pair, "small", tmp_path, **{part: content})
    with pytest.raises(UserError, match=rf"'large' and 'small' differ \({part}\); a relay hands"):
        check_models(engines, "demo")


def test_merges_may_be_written_in_either_way_and_texts_are_not_cut(
    pair: Pair, tmp_path: Path
) -> None:
    content = json.loads(Path("demo_pair/small/tokenizer.json").read_text())
    merges = [" ".join(merge) for merge in content["model"]["merges"]]
    cut = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    engines = with_tokenizer(
        pair, "small", tmp_path, model=content["model"] | {"merges": merges}, truncation=cut
    )
    check_models(engines, "demo")
    assert len(models.tokenizer(engines["small"]).encode("It is 12. Thus so on").ids) > 4


def of_class(pair: Pair, role: str, folder: Path, name: str) -> dict[str, Model]:
    """The pair's engines, one of which has a tokenizer of this class."""
    shutil.copytree(pair.engines[role].model, folder, dirs_exist_ok=True)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config = {key: value for key, value in config.items() if key != "backend"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": name}))
    return {**pair.engines, role: Model(model=str(folder))}


@pytest.mark.parametrize("role", ["large", "small"])
def test_a_tokenizer_that_its_class_changes_is_refused(
    pair: Pair, tmp_path: Path, role: str
) -> None:
    engines = of_class(pair, role, tmp_path, "LlamaTokenizerFast")
    with pytest.raises(UserError) as caught:
        check_models(engines, "demo")
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}: transformers does not do what its tokenizer.json says; ")
    assert "set tokenizer_class in its tokenizer_config.json to PreTrainedTokenizerFast" in line
    assert "\n" not in line


@pytest.mark.parametrize("name", ["Qwen2TokenizerFast", "PreTrainedTokenizerFast"])
def test_a_class_that_changes_nothing_is_fine(pair: Pair, tmp_path: Path, name: str) -> None:
    engines = of_class(pair, "large", tmp_path, name)
    check_models(engines, "demo")
    (ids,) = render(["What is 1 + 1?"], chats_of(engines["large"]))
    assert "What is 1 + 1?" in TOKENIZER.decode(ids)


def test_the_first_prompt_that_is_read_otherwise_is_named(pair: Pair, tmp_path: Path) -> None:
    engines = of_class(pair, "large", tmp_path, "LlamaTokenizerFast")
    prompt = "What is the sum of 1 and 1?" + " 2" * 60
    with pytest.raises(UserError) as caught:
        render([prompt, "And of 2?"], chats_of(engines["large"]))
    assert str(caught.value).endswith(
        f"The first difference is in the prompt {prompt[:60] + '...'!r}"
    )


def test_a_template_that_fails_is_one_line(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"its chat template fails \(no system message\)"):
        rendered(with_template(pair, tmp_path, "{{ raise_exception('no system message') }}"))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_broken_tokenizer_is_one_line(pair: Pair, tmp_path: Path, text: str) -> None:
    engines = with_tokenizer(pair, "small", tmp_path)
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(UserError, match=r"tokenizer\.json: not a tokenizer\.json"):
        check_models(engines, "demo")


def test_a_padded_vocabulary_is_no_other_tokenizer(pair: Pair, tmp_path: Path) -> None:
    shutil.copytree(pair.engines["small"].model, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["vocab_size"] += 128
    (tmp_path / "config.json").write_text(json.dumps(config))
    engines = {**pair.engines, "small": Model(model=str(tmp_path))}
    check_models(engines, "demo")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str, str]]:
    """A hub that holds the bundled pair under other names; what was fetched from it."""
    fetched: list[tuple[str, str, str]] = []

    def fetch(name: str, revision: str, file: str) -> Path:
        fetched.append((name, revision, file))
        return Path("demo_pair") / name.removeprefix("Owner/") / file

    monkeypatch.setattr(models, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(models, "fetch", fetch)
    return fetched


def test_models_on_the_hub_are_checked_at_their_revisions(
    pair: Pair, hub: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    local = AutoTokenizer.from_pretrained(pair.engines["large"].model)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: local)
    large = {"model": "Owner/large", "revision": REVISION}
    head = {"method": "eagle3", "model": "Owner/eagle3", "revision": OTHER, "tokens": 3}
    engines = {
        "large": Model.model_validate(large),
        "eagle3": Model.model_validate({**large, "speculation": head}),
        "small": Model(model="Owner/small", revision=OTHER),
    }
    check_models(engines, "demo")
    assert hub == [
        ("Owner/large", REVISION, "tokenizer.json"),
        ("Owner/large", REVISION, "tokenizer.json"),
        ("Owner/large", REVISION, "config.json"),
        ("Owner/eagle3", OTHER, "config.json"),
        ("Owner/small", OTHER, "tokenizer.json"),
    ]


def test_a_draft_head_writes_fewer_tokens_than_it_reads() -> None:
    assert draft_sizes(SPECULATOR) == {"hidden_size": 5120, "vocab_size": 151936}


def test_a_draft_head_may_be_narrower_than_its_model() -> None:
    narrow = {"hidden_size": 2048, "vocab_size": 151936, "draft_vocab_size": 32000}
    assert draft_sizes({**narrow, "target_hidden_size": 5120})["hidden_size"] == 5120
    speculator = {**SPECULATOR, "transformer_layer_config": narrow, "target_hidden_size": 5120}
    assert draft_sizes(speculator) == {"hidden_size": 5120, "vocab_size": 151936}


@pytest.mark.parametrize("size", ["hidden_size", "vocab_size"])
def test_a_draft_head_of_another_models_size_is_refused(
    pair: Pair, tmp_path: Path, size: str
) -> None:
    config = json.loads((Path(pair.engines["large"].model) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {size: 77}))
    head = Drafter(method="eagle3", model=str(tmp_path), tokens=3)
    served = Model(model=pair.engines["large"].model, speculation=head)
    with pytest.raises(UserError, match=rf"the draft head .* has {size} 77, the model .* has"):
        check_drafter("pairs.demo.engines.eagle3", served, head)
