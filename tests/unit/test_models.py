"""Models in folders and on the hub: their files, and what is said where one is missing."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RevisionNotFoundError
from pydantic import ValidationError

from stages.config.params import load
from stages.config.schema import Drafter, Model, Pair
from stages.engine import identity, models
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit
REVISION, OTHER = "0123456789abcdef" * 2 + "01234567", "f" * 40
RESPONSE = httpx2.Response(404, request=httpx2.Request("GET", "https://hub/"))
ON_HUB = Model(model="Owner/model", revision=REVISION)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that has the revision, open to all, and an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(models, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: SimpleNamespace(gated=False))


def raising(error: Exception) -> Callable[..., Any]:
    """A function that raises `error`."""

    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


def test_a_folder_has_its_own_files() -> None:
    assert models.model_file(Model(model="demo_pair/large"), "config.json") == Path(
        "demo_pair/large/config.json"
    )


def test_a_file_is_fetched_at_the_pinned_revision(
    online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def download(*args: str, **settings: str) -> str:
        asked.append((args, settings))
        return "cache/config.json"

    monkeypatch.setattr(models, "hf_hub_download", download)
    assert models.model_file(ON_HUB, "config.json") == Path("cache/config.json")
    assert asked == [(("Owner/model", "config.json"), {"revision": REVISION})]


def test_what_is_in_the_cache_is_not_asked_for(
    online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {("Owner/model", "config.json", REVISION): "cache/config.json"}
    monkeypatch.setattr(
        models,
        "try_to_load_from_cache",
        lambda name, file, revision: held[name, file, revision],
    )
    monkeypatch.setattr(HfApi, "model_info", raising(AssertionError("asked the hub")))
    assert models.model_file(ON_HUB, "config.json") == Path("cache/config.json")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RevisionNotFoundError("404", response=RESPONSE),
            f"Owner/model on the hub has no revision {REVISION}",
        ),
        (
            httpx2.ConnectError("no route"),
            "Owner/model: the hub cannot be reached (no route); without it, bring a filled cache "
            "and set HF_HUB_OFFLINE=1, or give a model folder",
        ),
        (
            GatedRepoError("403", response=RESPONSE),
            "Owner/model is gated: accept its terms at https://huggingface.co/Owner/model and set "
            "HF_TOKEN to a token of that account",
        ),
    ],
)
def test_a_hub_that_does_not_give_the_model_is_one_line(
    online: None, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    monkeypatch.setattr(HfApi, "model_info", raising(error))
    with pytest.raises(UserError) as caught:
        models.model_file(ON_HUB, "config.json")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RemoteEntryNotFoundError("404\n\nno such file", response=RESPONSE), "404 no such file"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    ],
)
def test_a_failed_download_is_one_line(
    online: None, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    monkeypatch.setattr(models, "hf_hub_download", raising(error))
    with pytest.raises(UserError) as caught:
        models.model_file(ON_HUB, "config.json")
    assert str(caught.value) == f"Owner/model at {REVISION}: cannot fetch config.json ({reason})"


def downloads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is fetched whole, from a hub that gives everything."""
    asked: list[Any] = []
    monkeypatch.setattr(
        models, "snapshot_download", lambda name, revision: asked.append((name, revision))
    )
    return asked


def with_head(name: str, revision: str | None = None) -> Model:
    """The model on the hub with a draft head."""
    head = Drafter(method="eagle3", model=name, revision=revision, tokens=3)
    return ON_HUB.model_copy(update={"speculation": head})


def test_a_model_and_its_head_are_fetched_whole_at_their_revisions(
    online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = downloads(monkeypatch)
    models.fetch_whole(with_head("Owner/head", OTHER))
    assert asked == [("Owner/model", REVISION), ("Owner/head", OTHER)]


def test_neither_folders_nor_models_offline_are_fetched(
    online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = downloads(monkeypatch)
    models.fetch_whole(Model(model="demo_pair/large"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    models.fetch_whole(ON_HUB)
    assert asked == []


@pytest.mark.parametrize(
    ("hub", "message"),
    [
        (None, f"Owner/model at {REVISION}: cannot fetch its files ([Errno 28] No space left)"),
        (httpx2.ConnectError("no route"), "Owner/model: the hub cannot be reached (no route)"),
    ],
)
def test_a_model_that_cannot_be_fetched_whole_is_one_line(
    online: None, monkeypatch: pytest.MonkeyPatch, hub: Exception | None, message: str
) -> None:
    monkeypatch.setattr(models, "snapshot_download", raising(OSError(28, "No space left")))
    if hub:
        monkeypatch.setattr(HfApi, "model_info", raising(hub))
    with pytest.raises(UserError) as caught:
        models.fetch_whole(ON_HUB)
    assert str(caught.value).startswith(message)


def test_offline_only_the_cache_is_read(online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(HfApi, "model_info", raising(AssertionError("asked the hub")))
    with pytest.raises(UserError, match=r"config\.json is not in the cache and HF_HUB_OFFLINE is"):
        models.model_file(ON_HUB, "config.json")


def test_a_name_without_a_revision_is_taken_for_a_folder() -> None:
    with pytest.raises(UserError) as caught:
        models.check_folders("engine 'large'", Model(model="Qwen/Qwen3-32B"))
    assert str(caught.value) == (
        "engine 'large': no model in Qwen/Qwen3-32B (no config.json); "
        "a model on the hub needs a revision"
    )


def test_models_on_the_hub_are_not_looked_for_in_folders() -> None:
    for served in load(Path("params.yaml")).pair("qwen3").engines.values():
        models.check_folders("engine", served)


def test_a_local_draft_head_of_a_model_on_the_hub_is_looked_for() -> None:
    with pytest.raises(UserError, match="no model in no/draft"):
        models.check_folders("engine", with_head("no/draft"))


def test_another_revision_is_another_model() -> None:
    known = [
        identity.of_model(served)
        for served in (
            ON_HUB,
            ON_HUB.model_copy(update={"revision": OTHER}),
            with_head("Owner/draft", OTHER),
            with_head("Owner/draft", REVISION),
        )
    ]
    assert known[0] == [f"Owner/model at {REVISION}"]
    assert known[2] == [f"Owner/model at {REVISION}", f"Owner/draft at {OTHER}"]
    assert len({tuple(one) for one in known}) == 4


def test_a_folder_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("one")
    served = Model(model=str(tmp_path))
    before = identity.of_model(served)
    (tmp_path / "weights").write_text("two")
    assert identity.of_model(served) != before


def test_a_pair_is_served_on_gpus_or_on_the_cpu() -> None:
    pair = load(Path("params.yaml")).pair("qwen3").model_dump()
    pair["engines"]["small"]["gpus"] = 0
    with pytest.raises(ValidationError, match="engines: gpus for all or none"):
        Pair.model_validate(pair)
