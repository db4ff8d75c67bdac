"""Find the files of a pair's models: in a folder, or on the hub at the pinned revision."""

from pathlib import Path
from typing import Any

from huggingface_hub import (
    constants,
    hf_hub_download,
    snapshot_download,
    try_to_load_from_cache,
)
from tokenizers import Tokenizer

from stages.config.schema import Model
from stages.engine.hub import UnavailableError, check_readable, one_line
from stages.runtime.errors import UserError

INSTEAD = "give a model folder"


def check_folders(where: str, served: Model) -> None:
    """Raise UserError unless local model folders exist; `where`: the engine, for the message."""
    for folder in served.folders:
        if not (folder / "config.json").is_file():
            raise UserError(
                f"{where}: no model in {folder} (no config.json); "
                "a model on the hub needs a revision"
            )


def model_file(served: Model, file: str) -> Path:
    """Return the path of a file of the model, not of its drafter."""
    return find(served.model, served.revision, file)


def find(name: str, revision: str | None, file: str) -> Path:
    """Return the path of a file of a model or drafter, fetched from the hub if necessary."""
    if revision is None:
        return Path(name) / file
    cached = try_to_load_from_cache(name, file, revision=revision)
    return Path(cached) if isinstance(cached, str) else fetch(name, revision, file)


def fetch(name: str, revision: str, file: str) -> Path:
    """Fetch a file from the hub into its cache; UserError if that fails."""
    where = f"{name} at {revision}"
    if constants.HF_HUB_OFFLINE:
        raise UserError(
            f"{where}: {file} is not in the cache and HF_HUB_OFFLINE is set; bring a filled cache, "
            f"or {INSTEAD}"
        )
    check(name, revision)
    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except Exception as error:  # no such file, a broken connection, a full disk: many types
        raise UserError(f"{where}: cannot fetch {file} ({one_line(error)})") from error


def check(name: str, revision: str) -> None:
    """Raise UserError unless the hub answers and gives this account the model."""
    try:
        check_readable("model", name, revision, INSTEAD)
    except UnavailableError as error:
        raise UserError(str(error)) from error


def fetch_whole(served: Model) -> None:
    """Fetch all files of a model and its drafter that are not in the hub's cache yet.

    A server would do it as well, but within the time of its start and while it holds GPUs. Raises
    UserError if that fails.
    """
    if constants.HF_HUB_OFFLINE:
        return  # a server says what it misses
    for name, revision in served.parts:
        if revision is None:
            continue
        try:
            # Does not ask the hub if it has fetched all of this revision before.
            snapshot_download(name, revision=revision)
        except Exception as error:  # of as many types as above
            check(name, revision)
            where = f"{name} at {revision}"
            raise UserError(f"{where}: cannot fetch its files ({one_line(error)})") from error


def tokenizer(served: Model) -> Tokenizer:
    """Return a model's tokenizer; a pair's is the large model's, and all its engines agree.

    Raises UserError if its tokenizer.json is none.
    """
    file = model_file(served, "tokenizer.json")
    if not file.is_file():
        raise UserError(f"no tokenizer in {served.model} (no {file.name})")
    try:
        found = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{file}: not a tokenizer.json ({one_line(error)})") from error
    found.no_truncation()
    found.no_padding()
    return found


def loaded_tokenizer(served: Model) -> Any:
    """Return a model's tokenizer as transformers loads it, and with it vLLM.

    Its class, which tokenizer_config.json names, may change what tokenizer.json says.
    """
    from transformers import AutoTokenizer  # takes seconds: it imports torch

    try:
        return AutoTokenizer.from_pretrained(
            served.model,
            revision=served.revision or "main",
            local_files_only=served.revision is None,
        )
    except (OSError, ValueError) as error:  # incomplete or broken files, or the hub is gone
        raise UserError(f"{served.model}: cannot load its tokenizer ({one_line(error)})") from error
