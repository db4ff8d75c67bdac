"""The tables of all pairs: as CSV, and as the paper prints them in Markdown and LaTeX. numbers.tex
has the numbers for running text, metrics/ those for `dvc metrics`.

The paper's values stand beside ours where the paper has them.
"""

import itertools
from pathlib import Path

import polars as pl
import yaml

from stages.analysis.latex import latex
from stages.analysis.listing import OF_LOAD
from stages.analysis.metrics import metrics, write
from stages.analysis.numbers import numbers
from stages.analysis.paper_tables import GRIDS, REFERENCE, of_pairs, with_speedup
from stages.analysis.table_grid import markdown
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.files import write_text
from stages.tracking.frames import SUMMARY, read_csv, write_csv
from stages.tracking.notes import write_provenance


def joined(files: list[Path]) -> pl.DataFrame:
    """Return the rows of all pairs. A column that is empty for one pair has the others' type."""
    parts = []
    for file in files:
        part = read_csv(file, SUMMARY)
        empty = [column.name for column in part if column.null_count() == len(column)]
        parts.append(part.with_columns(pl.col(empty).cast(pl.Null)))
    return pl.concat(parts, how="diagonal_relaxed")


def main() -> None:
    """Write every table as .csv, .md and .tex, numbers.tex and metrics/."""
    parser = command_line.parser(__doc__, per_pair=False)
    parser.add_argument("--summaries", type=Path, required=True, help="folder PAIR/TABLE.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    args = parser.parse_args()
    command_line.start_log(args.log)
    job = recipes.begin("tables", args)
    reference = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))
    printed = of_pairs(reference, job.settings.published)
    tables = {}
    for name, (beside_paper, as_grid) in GRIDS.items():
        pairs = job.settings.under_load if name == OF_LOAD else job.settings.run
        if not pairs:
            continue
        files = [args.summaries / pair / f"{name}.csv" for pair in pairs]
        table = beside_paper(joined(files), printed)
        if name == "policies":
            timed = [args.summaries / pair / "speed.csv" for pair in pairs]
            table, files = with_speedup(table, joined(timed)), [*files, *timed]
        tables[name] = table
        grids = {pair: as_grid(pair, table.filter(pair=pair)) for pair in pairs}
        csv, md, tex = (args.out / f"{name}.{suffix}" for suffix in ("csv", "md", "tex"))
        write_csv(csv, table)
        write_text(md, "\n".join(map(markdown, grids.values())))
        write_text(tex, "\n".join(latex(g, f"{name}-{pair}") for pair, g in grids.items()))
        write_provenance(provenance.derived(job, files), csv, md, tex)
    of_both = tables["accuracy"], tables["speed"]
    write(args.out / "metrics", metrics(*of_both))
    tex = args.out / "numbers.tex"
    write_text(tex, numbers(*of_both))
    both = itertools.product(("accuracy", "speed"), job.settings.run)
    made_from = [args.summaries / pair / f"{name}.csv" for name, pair in both]
    write_provenance(provenance.derived(job, made_from), tex)


if __name__ == "__main__":
    command_line.run(main)
