"""Soak a server with scripted engines: `python -m tests.soak --requests 2000`."""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from tests.end_to_end.conftest import processes_in, wait_for_none
from tests.end_to_end.test_serving import serving
from tests.soak.run import soak


def main() -> None:
    """Print what became of the requests and what the server took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder, begun = Path(name), time.monotonic()
        with serving(folder) as server:
            found = asyncio.run(soak(server, args.requests, args.seed))
        left = wait_for_none(lambda: processes_in(folder), 20)
    for outcome, n in found.outcomes.most_common():
        print(f"{n:6} {outcome}")
    print(f"memory {' to '.join(f'{mb:.0f}' for mb in found.memory_mb)} MB", end=", ")
    print(f"open files {' to '.join(map(str, found.files))}", end=", ")
    print(f"{found.running:.0f} answers and {len(left)} processes left", end=", ")
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
