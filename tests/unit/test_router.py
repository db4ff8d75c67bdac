"""R2R's router: the published architecture, and files in its authors' format."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from stages.engine.router import load
from stages.engine.router_convert import convert
from stages.engine.router_file import Sizes
from stages.runtime.errors import UserError
from tests.router_reference import Weights, by_hand

pytestmark = pytest.mark.unit
SIZES = Sizes(hidden=48, logits=100, dims=(64, 64, 64, 32), expansion=4)
VOCABULARY = 150


def weights(seed: int = 0) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(tuple(shape), generator=generator) * 0.2
        for name, shape in SIZES.shapes().items()
    }


def published(**changed: Any) -> dict[str, Any]:
    """What the authors' code saves."""
    content = {
        "model_type": "HiddenStatesTokenLMHeadLogitsClassifier",
        "init_args": {
            "hidden_states_size": SIZES.hidden,
            "logits_size": SIZES.logits,
            "hidden_dims": list(SIZES.dims),
            "expansion_factor": SIZES.expansion,
            "dropout_rate": 0.1,
            "dtype": torch.float32,
            "use_position_embedding": False,
            "freeze_lm_head": True,
            "normalize_input": False,
            "pretrained_model_name": "Qwen/Qwen3-1.7B",
        },
        "common_args": {"threshold": 0.4, "input_type": ["hidden_states", "token", "logits"]},
        "model_specific_args": {},
        "state_dict": weights(),
    }
    return content | changed


def saved(folder: Path, content: object) -> Path:
    torch.save(content, folder / "router.pt")
    return folder / "router.pt"


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden, embedding = torch.randn(2, 40, SIZES.hidden, generator=generator)
    logits = torch.randn(40, VOCABULARY, generator=generator).topk(SIZES.logits).values
    return hidden, embedding, logits


def test_a_converted_router_decides_as_the_published_one(tmp_path: Path) -> None:
    out = tmp_path / "router.safetensors"
    convert(saved(tmp_path, published()), out)
    router, read = load(out), inputs()
    assert router.threshold == 0.4
    expected = by_hand(weights(), *read)
    assert expected.std() > 0.05
    torch.testing.assert_close(router.probability(*read), expected, rtol=0, atol=1e-4)


def test_a_converted_file_says_whose_model_it_goes_with(tmp_path: Path) -> None:
    out = tmp_path / "router.safetensors"
    convert(saved(tmp_path, published()), out)
    with safe_open(out, framework="pt") as file:
        assert file.metadata()["small"] == "Qwen/Qwen3-1.7B"


def test_frozen_embeddings_are_left_to_the_small_model(tmp_path: Path) -> None:
    embeddings = {"token_embeddings.weight": torch.zeros(VOCABULARY, SIZES.hidden)}
    out = tmp_path / "router.safetensors"
    convert(saved(tmp_path, published(state_dict=weights() | embeddings)), out)
    with safe_open(out, framework="pt") as file:
        assert set(file.keys()) == set(weights())


class Code:
    """What runs code where a pickle is loaded without care."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (published(model_specific_args={"x": Code()}), "refused: a pickle with more in it than"),
        (published(model_type="LogitsClassifier"), "its architecture is LogitsClassifier"),
        (published(common_args={"threshold": 1.5}), "its threshold is 1.5"),
        (published(common_args={"threshold": None}), "not a router of R2R"),
        (published(init_args={"normalize_input": True}), "normalize_input is on"),
        (published(state_dict={"a": torch.zeros(1)}), "no router of R2R's architecture"),
        (
            published(
                init_args={"freeze_lm_head": False},
                state_dict={"token_embeddings.weight": torch.zeros(1)},
            ),
            "its embeddings were trained",
        ),
        ([1, 2], "no table of settings and weights"),
    ],
)
def test_any_other_pickle_is_refused_in_one_line(
    tmp_path: Path, content: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=f"router.pt: .*{message}") as error:
        convert(saved(tmp_path, content), tmp_path / "out.safetensors")
    assert "\n" not in str(error.value)
    assert "run" not in capsys.readouterr().out
    assert not (tmp_path / "out.safetensors").exists()


def test_a_file_that_is_no_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "router.pt").write_text("a text")
    with pytest.raises(UserError, match=r"router\.pt: (refused|not a file of PyTorch)"):
        convert(tmp_path / "router.pt", tmp_path / "out.safetensors")
