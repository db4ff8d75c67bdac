"""What was worked out about files, remembered until a file's size or time of change differs."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.tracking.files import write_text

FOLDER = Path(".cache/relaygen")
# A file that changed this recently may change again within one tick of the file system's clock.
SETTLED_S = 2.0


class Memory:
    """Values of one kind by file, kept in `.cache/relaygen/NAME.json`.

    A missing or damaged memory is an empty one: its values are worked out again.
    """

    def __init__(self, name: str) -> None:
        self.path = FOLDER / f"{name}.json"
        self.changed = False
        try:
            self.known: dict[str, list[Any]] = dict(
                json.loads(self.path.read_text(encoding="utf-8"))
            )
        except (OSError, ValueError, TypeError):
            self.known = {}

    def of(self, file: Path, work_out: Callable[[Path], Any], note: Path | None = None) -> Any:
        """Return what `work_out` makes of a file, which JSON can hold.

        `note`: a file that it reads besides, where it is there.
        """
        stats = [one.stat() for one in (file, note) if one and one.exists()]
        stamp = [[stat.st_size, stat.st_mtime_ns, stat.st_ino] for stat in stats]
        key = str(file.absolute())
        match self.known.get(key):
            case [seen, value] if seen == stamp:
                return value
        value = work_out(file)
        if time.time() - max(stat.st_mtime for stat in stats) > SETTLED_S:
            self.known[key] = [stamp, value]
            self.changed = True
        return value

    def save(self) -> None:
        """Write the memory if it has changed; a folder that cannot be written to has none."""
        if self.changed:
            try:
                write_text(self.path, json.dumps(self.known))
            except OSError:
                return
            self.changed = False
