"""The model hub: whether it answers in time and lets this account read what is asked for."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Literal, TypeVar

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from stages.runtime.errors import UserError

Value = TypeVar("Value")
Kind = Literal["dataset", "model"]
PLACES = {"dataset": "datasets/", "model": ""}
WORDS = {"dataset": "data set", "model": "model"}
HUB_ANSWERS_S = 10.0  # with the imports, a hub that is not there is known within 30 s


class UnavailableError(Exception):
    """What this account may not read."""


def check_readable(kind: Kind, name: str, revision: str, instead: str) -> None:
    """The hub answers, has the revision, and lets this account read it.

    Asked for by itself: loading would retry for minutes, or take another revision from the cache.
    `instead`: what does without the hub. Raises UnavailableError where access is missing, UserError
    for all else.
    """
    api = HfApi()
    page = f"{constants.ENDPOINT}/{PLACES[kind]}{name}"

    def ask() -> None:
        found = api.repo_info(name, repo_type=kind, revision=revision, timeout=HUB_ANSWERS_S)
        if found.gated:
            api.auth_check(name, repo_type=kind)

    try:
        within(HUB_ANSWERS_S, ask)
    except GatedRepoError as error:
        raise UnavailableError(
            f"{name} is gated: accept its terms at {page} and set HF_TOKEN to a token of that "
            "account"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{name} on the hub has no revision {revision}") from error
    except RepositoryNotFoundError as error:
        raise UserError(f"{page}: no such {WORDS[kind]}, or a private one") from error
    except HfHubHTTPError as error:
        raise UserError(f"{page}: {one_line(error)}") from error
    except Exception as error:  # whatever the HTTP library of the day raises
        raise unreachable(name, error, instead) from error


def within(seconds: float, ask: Callable[[], Value]) -> Value:
    """What `ask` returns or raises; TimeoutError after `seconds`.

    A thread, for name resolution knows no timeout, and a host's addresses are tried one by one.
    """
    answer: Future[Value] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    return answer.result(timeout=seconds)


def unreachable(name: str, error: Exception, instead: str) -> UserError:
    """The one line for a hub that does not answer, with the ways to do without it."""
    reason = one_line(error) or type(error).__name__
    return UserError(
        f"{name}: the hub cannot be reached ({reason}); without it, bring a filled cache and "
        f"set HF_HUB_OFFLINE=1, or {instead}"
    )


def one_line(error: Exception) -> str:
    """An error's message without line breaks, at most 200 characters."""
    return " ".join(str(error).split())[:200]
