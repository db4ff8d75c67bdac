"""The commands of the workflow's rules: an edit to one changes what its rule makes."""

import re
from functools import cache
from pathlib import Path

RULES = Path("workflow/rules")
# What decides a rule's result; how it runs (log, threads, resources, ...) does not.
SECTIONS = ("input", "output", "params", "shell")


@cache
def commands() -> dict[str, str]:
    """Return {rule: the text of what decides its result}, without comments."""
    text = "\n".join(path.read_text() for path in sorted(RULES.glob("*.smk")))
    bodies = re.findall(r"^rule (\w+):\n((?:(?: .*)?\n)*)", text + "\n", re.MULTILINE)
    return {name: deciding(body) for name, body in bodies}


def deciding(body: str) -> str:
    """Return the sections of a rule's body that decide its result."""
    lines = [line for line in body.splitlines() if line.strip() and line.strip()[0] != "#"]
    kept, inside = [], False
    for line in lines:
        if section := re.match(r"    (\w+):", line):
            inside = section[1] in SECTIONS
        if inside:
            kept.append(line.strip())
    return "\n".join(kept)


def command_of(rule: str) -> str:
    """Return what decides the result of a rule; empty if there is no such rule."""
    return commands().get(rule, "")
