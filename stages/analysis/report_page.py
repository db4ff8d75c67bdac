"""The content of report.html."""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from markupsafe import Markup

from stages import view
from stages.analysis.alts import alt
from stages.analysis.display import COLUMNS, shown
from stages.analysis.findings import findings
from stages.analysis.listing import FIGURES, FIGURES_FROM, OF_LOAD, TABLES, TABLES_FROM
from stages.analysis.paper_tables import GRIDS, REFERENCE
from stages.analysis.reading import within
from stages.analysis.what_ran import beside_paper
from stages.runtime.durations import spelled
from stages.tracking import provenance
from stages.tracking.files import Row
from stages.tracking.frames import SUMMARY, read_csv
from stages.tracking.notes import read_provenance

TEMPLATE = Path("workflow/report.html.j2")
# Of answers to read, of all pairs together: the page is to stay below 20 MB with its figures.
MOST_BYTES = 12_000_000
IN_FULL = ("accuracy", "speed")  # tables whose every column stands at the page's end
PARETO = "pareto"  # comes first
OTHERS = [name for name in FIGURES if name != PARETO]
MOST_COLUMNS = 12  # beside the first one, of a table on paper
DOTS_PER_INCH = 200  # of the figures
# After < come the script's end and comments: no text of an answer may begin either.
IN_SCRIPT = str.maketrans({"<": "\\u003c", "\u2028": "\\u2028", "\u2029": "\\u2029"})
Content = dict[str, Any]


def content(
    results: Path, published: Mapping[str, str | None], under_load: Sequence[str] = ()
) -> Content:
    """Return what the page shows, as the template expects it.

    `published`: {pair: which of the paper's it is}. `under_load`: the pairs that were measured so.
    """
    most = MOST_BYTES // len(published)
    setup = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))["setup"]
    return {
        "pairs": [
            page | {"facts": beside_paper(page["facts"], setup, published[page["name"]])}
            for pair in published
            for page in [pair_content(results, pair, most, pair in under_load)]
        ],
        "view": {name.partition(".")[2]: Markup(view.part(name)) for name in view.PARTS},
    }


def pair_content(
    results: Path, pair: str, most_bytes: int = MOST_BYTES, under_load: bool = False
) -> Content:
    """Return what the page shows of one pair.

    `most_bytes`: of answers to read. `under_load`: whether it was measured under load.
    """
    tables = {
        name: read_csv(results / "tables" / f"{name}.csv", SUMMARY).filter(pair=pair)
        for name in TABLES
        if name != OF_LOAD or under_load
    }
    excerpts = read_excerpts(results, pair)
    return {
        "name": pair,
        "findings": findings(
            tables["accuracy"],
            tables["differences"],
            tables["speed"],
            tables["left_out"],
            excerpts["speed_benchmark"],
        ),
        "origin": origin(results / "tables" / "accuracy.csv", pair),
        "tables": [table_content(pair, *one) for one in tables.items() if len(one[1])],
        "figures": [figure_content(results, pair, name, tables) for name in figures_of(under_load)],
        "facts": excerpts["facts"],
        "took": [(stage, spelled(seconds)) for stage, seconds in excerpts["seconds"].items()],
        "cues": cue_content(excerpts["cues"], excerpts["min_segments"]),
        "full": [(name, *in_full(tables[name])) for name in IN_FULL],
        **answers_content(excerpts, most_bytes),
    }


def figures_of(under_load: bool) -> list[str]:
    """Return the names of a pair's figures, in the page's order."""
    return [PARETO, *([OF_LOAD] if under_load else []), *OTHERS]


def read_excerpts(results: Path, pair: str) -> Row:
    """Return the content of excerpts/PAIR.json."""
    file = results / "excerpts" / f"{pair}.json"
    found: Row = json.loads(file.read_text(encoding="utf-8"))
    return found


def table_content(pair: str, name: str, table: pl.DataFrame) -> Content:
    """Return a laid-out table, and where its files, data and code are."""
    code, data = TABLES_FROM[name]
    files = {suffix: f"tables/{name}.{suffix}" for suffix in ("csv", "md", "tex")}
    data = data.replace("PAIR", pair)
    return {
        "name": name,
        "grid": (grid := GRIDS[name][1](pair, table)),
        "parts": parts(len(grid.header)),
        "about": TABLES[name],
        "links": [
            ("CSV", files["csv"]),
            ("Markdown", files["md"]),
            ("LaTeX", files["tex"]),
            ("data", data),
            ("code", f"../{code}"),
        ],
    }


def parts(n_columns: int) -> list[list[int]]:
    """Return the columns of each part of a table, of which each begins with the first column."""
    others = range(1, n_columns)
    return [[0, *others[i : i + MOST_COLUMNS]] for i in range(0, max(1, len(others)), MOST_COLUMNS)]


def figure_content(results: Path, pair: str, name: str, tables: dict[str, pl.DataFrame]) -> Content:
    """Return a figure with its caption, its description, and where its files are."""
    image = results / "figures" / f"{pair}-{name}.png"
    stem = f"figures/{image.stem}"
    return {
        "name": name,
        "image": base64.b64encode(image.read_bytes()).decode(),
        "inches": width_in_dots(image) / DOTS_PER_INCH,
        "caption": image.with_suffix(".txt").read_text(encoding="utf-8").strip(),
        "alt": alt(name, tables),
        "links": [
            ("PDF", f"{stem}.pdf"),
            ("PNG", f"{stem}.png"),
            ("data", FIGURES_FROM[name].replace("PAIR", pair)),
            ("code", "../stages/analysis/plots.py"),
        ],
    }


def width_in_dots(image: Path) -> int:
    """Return the width of a PNG file, which stands behind its first 16 bytes."""
    width: int = struct.unpack(">I", image.read_bytes()[16:20])[0]
    return width


def cue_content(cues: Sequence[Row], min_segments: int) -> Content:
    """Return the candidates: selected, rejected, and too rare to be judged."""
    judged = [one for one in cues if one["n_segments"] >= min_segments]
    return {
        "selected": [one for one in cues if one["selected"]],
        "rejected": [one for one in judged if not one["selected"]],
        "rare": [one["cue"] for one in cues if one not in judged and not one["selected"]],
        "min_segments": min_segments,
        "n": len(cues),
    }


def in_full(table: pl.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return (header, rows) of all columns that hold something, but for the pair's name."""
    kept = [one for one in table.columns[1:] if table[one].null_count() < len(table)]
    rows = [[as_text(value) for value in row] for row in table.select(kept).iter_rows()]
    return [COLUMNS.get(name, name.replace("_", " ")) for name in kept], rows


def as_text(value: Any) -> str:
    """Return a value as the page prints it."""
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else shown(str(value))


def answers_content(excerpts: Row, most_bytes: int) -> Content:
    """Return the answers to read, as JSON for the page's script, and how many there are."""
    problems = within(excerpts["problems"], most_bytes)
    used = {name for one in problems for name in (one["benchmark"], *one["answers"])}
    data = {"problems": problems, "names": {name: shown(name) for name in used}}
    text = json.dumps(data, ensure_ascii=False).translate(IN_SCRIPT)
    return {
        "answers": Markup(text),
        "n_shown": len(problems),
        "n_problems": excerpts["n_problems"],
    }


def origin(table: Path, pair: str) -> str:
    """Return a line on the answers behind a table's rows of one pair: models, machine, dates."""
    noted = read_provenance(table)
    of_pair = [name for name in noted.get("made_from", ()) if Path(name).parent.name == pair]
    return provenance.in_one_line(provenance.ancestry(noted, of_pair).values())


def used(results: Path, pairs: Sequence[str], under_load: Sequence[str] = ()) -> list[Path]:
    """Return the files that the page is made of. `under_load`: pairs that were measured so."""
    names = [name for name in TABLES if name != OF_LOAD or under_load]
    tables = [results / "tables" / f"{name}.csv" for name in names]
    excerpts = [results / "excerpts" / f"{pair}.json" for pair in pairs]
    figures = [
        results / "figures" / f"{pair}-{name}.{suffix}"
        for pair in pairs
        for name in figures_of(pair in under_load)
        for suffix in ("png", "txt")
    ]
    return tables + excerpts + figures
