"""The store: finished answers, kept by what shaped them, outside the outputs that DVC clears.

`store/KIND/DIGEST/` holds what was made under one recipe (`recipe.yaml`): checkpoints, to which
each finished answer is appended before the next is asked for. Outputs are put together from it. An
answer is found by its key alone, so it serves every problem set, pair and run that asks for it.
"""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import orjson
import yaml

from stages.runtime.errors import UserError
from stages.tracking import digests
from stages.tracking.files import Row, write_text

log = logging.getLogger(__name__)
STORE = Path("store")
LOCK_WITHIN_S = 40.0
Key = tuple[str, ...]


class Store:
    """What is kept under one recipe. Reading needs no more; as a context manager it also appends.

    `checkpoint` names the one that this process appends to: each job has its own.
    """

    def __init__(self, folder: Path, recipe: Row | None = None, checkpoint: str = "1of1") -> None:
        self.folder, self.recipe, self.checkpoint = folder, recipe, checkpoint
        self._index_all()

    @classmethod
    def under(cls, kind: str, recipe: Row, checkpoint: str = "1of1") -> Self:
        """Return what is kept under a recipe; `kind`: answers, margins or latency."""
        return cls(STORE / kind / digests.of_value(recipe), recipe, checkpoint)

    def _index_all(self) -> None:
        """Note where each answer lies, in every checkpoint of the recipe."""
        self.places: dict[Key, tuple[Path, int, int]] = {}
        self.sessions: dict[Path, list[tuple[int, Row]]] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            self._index(path)

    def _index(self, path: Path) -> None:
        """Index one checkpoint. A damaged line is dropped: its answer is asked for again."""
        begin = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                end = begin + len(line)
                try:
                    content = orjson.loads(line if line.endswith(b"\n") else b"")
                    if "session" in content:
                        self.sessions.setdefault(path, []).append((begin, content["session"]))
                    else:
                        assert isinstance(content["row"], dict)
                        self.places.setdefault(tuple(content["key"]), (path, begin, end))
                except (ValueError, TypeError, KeyError, AssertionError):
                    log.warning(
                        "%s, line %d is damaged: its answer is asked for again", path, number
                    )
                begin = end

    def __contains__(self, key: Key) -> bool:
        return key in self.places

    def row(self, key: Key) -> Row:
        """Return the answer with this key."""
        path, begin, end = self.places[key]
        with path.open("rb") as file:
            file.seek(begin)
            row: Row = orjson.loads(file.read(end - begin))["row"]
        return row

    def session(self, key: Key) -> Row:
        """Return what ran, where and since when, as the answer with this key was finished."""
        path, begin, _ = self.places[key]
        before = [session for at, session in self.sessions.get(path, []) if at < begin]
        return before[-1] if before else {}

    def __enter__(self) -> Self:
        """Open this process's checkpoint; UserError if another process appends to it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / "recipe.yaml"
        if not note.exists():
            write_text(note, yaml.safe_dump(self.recipe, sort_keys=False, allow_unicode=True))
        self.path = self.folder / f"{self.checkpoint}.jsonl"
        self.file = self.path.open("a+b")
        if not lock(self.file):
            self.file.close()
            raise UserError(
                f"{self.path}: another process is asking for these answers; wait until it has ended"
            )
        self._end_last_line()
        self._index_all()  # another process may have appended since
        return self

    def _end_last_line(self) -> None:
        """End a line that a crash has torn, so that the next one stands by itself."""
        size = self.file.seek(0, os.SEEK_END)
        if size and os.pread(self.file.fileno(), 1, size - 1) != b"\n":
            self.file.write(b"\n")
            self.file.flush()

    def begin_session(self, session: Row) -> None:
        """Note what runs from here on."""
        at = self._write({"session": session})
        self.sessions.setdefault(self.path, []).append((at, session))

    def append(self, key: Key, row: Row) -> None:
        """Keep one finished answer: it is on disk when this returns."""
        at = self._write({"key": key, "row": row})
        os.fsync(self.file.fileno())
        self.places[key] = (self.path, at, self.file.tell())

    def _write(self, content: Row) -> int:
        """Append a line; return where it begins."""
        at = self.file.seek(0, os.SEEK_END)
        self.file.write(orjson.dumps(content) + b"\n")
        self.file.flush()
        return at

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()


def lock(file: IO[bytes]) -> bool:
    """Lock a file; False if another process keeps it locked for `LOCK_WITHIN_S`.

    A job whose run was killed takes some seconds to stop its engines.
    """
    deadline = time.monotonic() + LOCK_WITHIN_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)


def folders() -> Iterator[Path]:
    """Yield the folders of all recipes in the store."""
    for note in sorted(STORE.glob("*/*/recipe.yaml")):
        yield note.parent


def answers_in(folder: Path) -> int:
    """Return how many answers a folder of the store holds."""
    lines = (line for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines())
    return sum(line.startswith(b'{"key"') for line in lines)


def size_of(folder: Path) -> int:
    """Return the bytes that a folder of the store takes."""
    return sum(path.stat().st_size for path in folder.iterdir())
