"""report.html: what came out of a run, in one self-contained page."""

from pathlib import Path

import jinja2

from stages.analysis.report_page import TEMPLATE, content, used
from stages.runtime import command_line
from stages.tracking import provenance, recipes
from stages.tracking.files import write_text
from stages.tracking.notes import write_provenance


def main() -> None:
    """Write the report."""
    parser = command_line.parser(__doc__, per_pair=False)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, required=True, help="report.html")
    args = parser.parse_args()
    command_line.start_log(args.log)
    template = jinja2.Template(TEMPLATE.read_text(encoding="utf-8"), autoescape=True)
    job = recipes.begin("report", args)
    run, under_load = job.settings.run, job.settings.under_load
    page = content(args.results, job.settings.published, under_load)
    write_text(args.out, template.render(**page))
    write_provenance(provenance.derived(job, used(args.results, run, under_load)), args.out)


if __name__ == "__main__":
    command_line.run(main)
