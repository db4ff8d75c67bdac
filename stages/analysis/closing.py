"""The last lines of a run: what came out, how long it took, where the report is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.analysis.paper_tables import GRIDS
from stages.analysis.table_grid import plain
from stages.tracking.frames import SUMMARY, read_csv

SHOWN = ("accuracy", "speed")
REPORT = "report.html"


def closing(results: Path, pairs: Sequence[str], took: str, log: Path) -> Iterator[str]:
    """Yield the lines. `took`: how long the run took, in words."""
    for name in SHOWN:
        table = read_csv(results / "tables" / f"{name}.csv", SUMMARY)
        for pair in pairs:
            yield from (*plain(GRIDS[name][1](pair, table.filter(pair=pair))), "")
    yield from left_out(results)
    yield f"took {took}; report: {results / REPORT}; tables and figures beside it; log: {log}"


def left_out(results: Path) -> Iterator[str]:
    """Yield a line for each method and benchmark that the run left out."""
    table = read_csv(results / "tables" / "left_out.csv", SUMMARY)
    for row in table.iter_rows(named=True):
        yield f"{row['pair']} without {row['left_out']}: {row['reason']}"
