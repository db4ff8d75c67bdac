"""The model hub: check that it answers in time and that this account may read what it asks for."""

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
HUB_ANSWERS_S = 10.0  # with all imports, a hub that does not answer is reported within 30 s


class UnavailableError(Exception):
    """This account may not read a data set or model."""


def check_readable(kind: Kind, name: str, revision: str, instead: str) -> None:
    """Check that the hub answers, has the revision, and lets this account read it.

    Checked before loading, which would retry for minutes, or take another revision from the cache.
    `instead`: what the user can do without the hub. Raises UnavailableError if this account has no
    access, UserError for everything else.
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
    except Exception as error:  # the HTTP libraries raise errors of many types
        raise unreachable(name, error, instead) from error


def newest(name: str, instead: str) -> str:
    """Return the newest commit of a model; UserError if the hub does not answer, or has it not."""
    try:
        commit = within(HUB_ANSWERS_S, lambda: HfApi().model_info(name, timeout=HUB_ANSWERS_S).sha)
    except RepositoryNotFoundError as error:
        raise UserError(f"{name}: neither a folder here nor a model on the hub") from error
    except HfHubHTTPError as error:
        raise UserError(f"{name}: {one_line(error)}") from error
    except Exception as error:  # the HTTP libraries raise errors of many types
        raise unreachable(name, error, instead) from error
    return str(commit)


def within(seconds: float, ask: Callable[[], Value]) -> Value:
    """Return or raise what `ask` does; TimeoutError after `seconds`.

    In a thread: name resolution has no timeout, and each address of a host is tried in turn.
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
    """Return the error for a hub that does not answer, with the ways to work without it."""
    reason = one_line(error) or type(error).__name__
    return UserError(
        f"{name}: the hub cannot be reached ({reason}); without it, bring a filled cache and "
        f"set HF_HUB_OFFLINE=1, or {instead}"
    )


def one_line(error: Exception) -> str:
    """Return an error's message without line breaks, at most 200 characters."""
    return " ".join(str(error).split())[:200]
