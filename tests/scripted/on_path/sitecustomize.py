"""In a server's process: the packages of `stand_ins/` come before the real ones.

All other processes import what is installed.
"""

import sys
from pathlib import Path

SCRIPTED = Path(__file__).resolve().parents[1]

if "--served-model-name" in sys.orig_argv:
    sys.path.insert(0, str(SCRIPTED / "stand_ins"))
    sys.path.append(str(SCRIPTED.parents[1]))  # for `tests.scripted`, wherever the server starts
