"""`python -m tests.campaign`: see the package."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import tests.campaign
from tests.campaign.campaign import campaign, table


def main() -> None:
    """Run a campaign and print its table; exit code 1 if a run went wrong."""
    parser = argparse.ArgumentParser(description=tests.campaign.__doc__)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-run", type=int, default=20, help="events in each checkout")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    args = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="campaign-"))
    results = []
    for result in campaign(base, args.events, args.seed, args.per_run, args.jobs):
        results.append(result)
        print("\n".join([f"{len(result.events)} events", *result.wrong]), file=sys.stderr)
    print(table(results))
    if any(result.wrong for result in results):
        sys.exit(1)
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
