"""Where a result came from, noted with it: in Parquet's metadata, or in a file beside it."""

import json
from pathlib import Path

from stages.runtime.errors import UserError
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
    """Return where a file came from, as it was noted when it was written; empty if it was not.

    Raises UserError if the Parquet file or the note beside the file is damaged.
    """
    return in_metadata(path) if path.suffix == ".parquet" else in_note(path)


def in_metadata(path: Path) -> Row:
    """Return what is noted in a Parquet file's metadata."""
    import polars as pl  # a quarter of a second, for those who read a note beside a file alone

    try:
        metadata = pl.read_parquet_metadata(path)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: not a Parquet file; remove it and make it again") from error
    origin: Row = json.loads(metadata.get("provenance", "{}"))
    return origin


def in_note(path: Path) -> Row:
    """Return what is noted beside a file; a note on other contents is none on these."""
    note = note_beside(path)
    if not note.is_file():
        return {}
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        origin: Row = content["origin"]
        about = content["files"].get(path.name)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{note}: damaged; remove {path.name} and make it again") from error
    return origin if about == digests.sha256(path)[:16] else {}
