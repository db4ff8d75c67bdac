"""Where a result came from, noted with it: in Parquet's metadata, or in a file beside it."""

import json
from pathlib import Path

from stages.tracking import digests
from stages.tracking.files import Row, write_text


def note_beside(path: Path) -> Path:
    """The file that says where a file without metadata came from, in all of its formats."""
    return path.with_suffix(".provenance.json")


def write_provenance(origin: Row, *files: Path) -> None:
    """Note beside `files`, one result in several formats, where it came from.

    Not in them: with the same figures they are the same, byte for byte.
    """
    content = {"files": {file.name: digests.sha256(file)[:16] for file in files}, "origin": origin}
    write_text(note_beside(files[0]), json.dumps(content, indent=2) + "\n")


def read_provenance(path: Path) -> Row:
    """Where a file came from, as it was noted when it was written; empty if it was not."""
    origin: Row = {}
    if path.suffix == ".parquet":
        import polars as pl  # a quarter of a second, for those who read a note beside a file alone

        origin = json.loads(pl.read_parquet_metadata(path).get("provenance", "{}"))
    elif note_beside(path).is_file():
        note = json.loads(note_beside(path).read_text())
        # A note on other contents is none on these.
        if note["files"].get(path.name) == digests.sha256(path)[:16]:
            origin = note["origin"]
    return origin
