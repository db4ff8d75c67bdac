"""Asking the hub: in time, and in one line where it does not give what was asked for."""

import time
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from stages.engine.hub import HUB_ANSWERS_S, UnavailableError, check_readable, within
from stages.runtime.errors import UserError
from tests.conftest import answered, raising

pytestmark = pytest.mark.unit
REVISION = "0123456789abcdef" * 2 + "01234567"
PAGE = "https://huggingface.co"


def test_what_is_there_and_open_to_all_is_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def model_info(_: HfApi, *args: Any, **settings: Any) -> SimpleNamespace:
        asked.append((args, settings["revision"]))
        return SimpleNamespace(gated=False)

    monkeypatch.setattr(HfApi, "model_info", model_info)
    check_readable("model", "Owner/model", REVISION, "do without")
    assert asked == [(("Owner/model",), REVISION)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            answered(RevisionNotFoundError, 404),
            f"Owner/model on the hub has no revision {REVISION}",
        ),
        (
            answered(RepositoryNotFoundError, 404),
            f"{PAGE}/Owner/model: no such model, or a private one",
        ),
        (answered(HfHubHTTPError, 503), f"{PAGE}/Owner/model: 503 Error at length"),
        (
            httpx2.ConnectError("no route"),
            "Owner/model: the hub cannot be reached (no route); without it, bring a filled cache "
            "and set HF_HUB_OFFLINE=1, or do without",
        ),
        (
            TimeoutError(),
            "Owner/model: the hub cannot be reached (TimeoutError); without it, bring a filled "
            "cache and set HF_HUB_OFFLINE=1, or do without",
        ),
    ],
)
def test_what_the_hub_does_not_give_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    monkeypatch.setattr(HfApi, "model_info", raising(error))
    with pytest.raises(UserError) as caught:
        check_readable("model", "Owner/model", REVISION, "do without")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("kind", "page"),
    [("model", f"{PAGE}/Owner/it"), ("dataset", f"{PAGE}/datasets/Owner/it")],
)
def test_without_access_the_page_to_ask_on_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: Any, page: str
) -> None:
    monkeypatch.setattr(HfApi, f"{kind}_info", lambda *_, **__: SimpleNamespace(gated="auto"))
    monkeypatch.setattr(HfApi, "auth_check", raising(answered(GatedRepoError, 403)))
    with pytest.raises(UnavailableError, match=f"accept its terms at {page} and set HF_TOKEN"):
        check_readable(kind, "Owner/it", REVISION, "do without")


def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        within(0.05, lambda: time.sleep(10))
    assert time.monotonic() - started < 5


def test_an_answer_in_time_is_passed_on() -> None:
    assert within(5, lambda: 3) == 3
    with pytest.raises(ValueError, match="no"):
        within(5, raising(ValueError("no")))


def test_the_first_answer_of_the_hub_leaves_time_for_the_imports() -> None:
    assert HUB_ANSWERS_S <= 15
