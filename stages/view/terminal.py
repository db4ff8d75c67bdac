"""An answer on a terminal, coloured by who writes it."""

import os
import sys

COLOURS = {"large": "\x1b[34m", "small": "\x1b[33m"}
PLAIN = "\x1b[0m"
CUE = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"


def has_colours() -> bool:
    """Return whether standard output is a terminal whose user wants colours."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def painted(text: str, by: str, coloured: bool) -> str:
    """Return text in the colour of its model; as it is if not `coloured`."""
    return f"{COLOURS[by]}{text}{PLAIN}" if coloured and text else text
