"""The content of report.html, and the list of what a run wrote."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from stages.analysis.listing import FIGURES, TABLES
from stages.tracking import provenance
from stages.tracking.frames import SUMMARY, read_csv
from stages.tracking.notes import read_provenance

TEMPLATE = Path("workflow/report.html.j2")


def pair_content(results: Path, pair: str) -> dict[str, Any]:
    """Return what the page shows of one pair, as the template expects it."""
    tables = []
    for name, caption in TABLES.items():
        file = results / "tables" / f"{name}.csv"
        table = read_csv(file, SUMMARY).filter(pair=pair)
        if len(table):
            tables.append((caption, rounded(table, 2), origin(file, pair)))
    figures = [
        (encoded(file), file.with_suffix(".txt").read_text(encoding="utf-8").strip())
        for file in (results / "figures" / f"{pair}-{name}.png" for name in FIGURES)
    ]
    return {"name": pair, "tables": tables, "figures": figures}


def encoded(image: Path) -> str:
    """Return an image's bytes in Base64, to be part of the page."""
    return base64.b64encode(image.read_bytes()).decode()


def origin(table: Path, pair: str) -> str:
    """Return a line on the answers behind a table's rows of one pair: models, machine, dates."""
    noted = read_provenance(table)
    of_pair = [name for name in noted.get("made_from", ()) if Path(name).parent.name == pair]
    return provenance.in_one_line(provenance.ancestry(noted, of_pair).values())


def rounded(table: pl.DataFrame, digits: int) -> tuple[list[str], list[list[str]]]:
    """Return (header, rows) as text, without the first column, the pair's name."""
    rows = [
        ["" if x is None else f"{x:.{digits}f}" if isinstance(x, float) else str(x) for x in row]
        for row in table.iter_rows()
    ]
    return table.columns[1:], [row[1:] for row in rows]


def shown(results: Path, pairs: Sequence[str]) -> list[Path]:
    """Return the files that the page is made of."""
    tables = [results / "tables" / f"{name}.csv" for name in TABLES]
    figures = [
        results / "figures" / f"{pair}-{name}.{suffix}"
        for pair in pairs
        for name in FIGURES
        for suffix in ("png", "txt")
    ]
    return tables + figures


def written(results: Path) -> list[Path]:
    """Return the tables, figures and report of a run."""
    patterns = ("tables/*.csv", "tables/*.md", "tables/*.tex", "*/cues.csv", "figures/*.pdf")
    files = [file for pattern in patterns for file in results.glob(pattern)]
    return [*sorted(files), results / "report.html"]


def left_out(results: Path) -> list[str]:
    """Return a line for each method and benchmark that the run left out."""
    file = results / "tables" / "left_out.csv"
    rows = read_csv(file, SUMMARY).iter_rows(named=True) if file.exists() else ()
    return [f"{row['pair']} without {row['left_out']}: {row['reason']}" for row in rows]
