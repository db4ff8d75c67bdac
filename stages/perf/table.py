"""One table of all performance tests: results/bench/table.md, and between two marks of a page."""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.tracking.files import Row, write_text

BETWEEN_MARKS = re.compile("(?<=<!-- bench -->\n).*?(?=<!-- /bench -->)", re.DOTALL)
HEAD = "| | | median | range | goal |\n|-|-|-:|-:|-:|\n"


def table(results: Sequence[Row]) -> str:
    """Return Markdown: a line per measurement without the details, and the machine below."""
    lines = [
        f"| {'' if i else result['title']} | {line(measurement)} |\n"
        for result in results
        for i, measurement in enumerate(shown(result))
    ]
    return HEAD + "".join(lines) + "\n" + machines(results) + "\n"


def shown(result: Row) -> list[Row]:
    """Return the measurements of a performance test that are in the table."""
    return [one for one in result["measurements"] if not one.get("detail")]


def line(measurement: Row) -> str:
    """Return a measurement's cells: what, median with unit, range, goal."""
    ends = [number(end(measurement["values"])) for end in (min, max)]
    spread = " to ".join(ends) if len(measurement["values"]) > 1 else ""
    middle = f"{number(measurement['median'])} {measurement['unit']}"
    return f"{measurement['what']} | {middle} | {spread} | {measurement['goal']}"


def number(value: float) -> str:
    """Return three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machines(results: Sequence[Row]) -> str:
    """Return where it was measured, in a sentence; each machine once."""
    said = [
        f"{where['hardware']['cpu']}, {where['hardware']['cores']} cores, {where['memory_gb']} GB, "
        f"{where['started'][:10]}"
        for where in (result["machine"] for result in results)
    ]
    return f"Measured on {'; '.join(dict.fromkeys(said))}."


def put_between_marks(page: Path, text: str) -> None:
    """Replace the text between the marks of `page`; UserError without marks."""
    found, n = BETWEEN_MARKS.subn(lambda _: text, page.read_text(encoding="utf-8"))
    if n != 1:
        raise UserError(f"{page}: no place for the table; add <!-- bench --> and <!-- /bench -->")
    write_text(page, found)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--results", type=Path, nargs="+", required=True, help="JSON files")
    parser.add_argument("--out", type=Path, required=True, help="results/bench/table.md")
    parser.add_argument("--readme", type=Path, help="also put it between this file's marks")
    parser.add_argument("--log", type=Path, help="also log to this file")
    args = parser.parse_args()
    command_line.start_log(args.log)
    text = table([json.loads(path.read_text(encoding="utf-8")) for path in args.results])
    write_text(args.out, text)
    if args.readme:
        put_between_marks(args.readme, text)


if __name__ == "__main__":
    command_line.run(main)
