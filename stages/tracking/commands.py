"""The commands of the workflow's rules: an edit to one changes what its rule makes."""

import ast
import re
import tokenize
from functools import cache
from io import StringIO
from pathlib import Path

from stages.tracking.code import digest

RULES = Path("workflow/rules")
# What decides a rule's result; how it runs (log, threads, resources, ...) does not.
SECTIONS = ("input", "output", "params", "shell")


@cache
def commands() -> dict[str, str]:
    """Return {rule: the text of what decides its result}, without comments."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(RULES.glob("*.smk")))
    bodies = re.findall(r"^rule (\w+):\n((?:(?: .*)?\n)*)", text + "\n", re.MULTILINE)
    known = functions(text)
    found = {name: deciding(without_comments(body)) for name, body in bodies}
    return {name: "\n".join([rule, *called(rule, known)]) for name, rule in found.items()}


def functions(text: str) -> dict[str, str]:
    """Return {name: code} of the functions that rules may call for their inputs and params."""
    found = re.findall(r"^def (\w+)(\(.*?)(?=^\S|\Z)", text + "\n", re.MULTILINE | re.DOTALL)
    return {name: f"def {name}{code}" for name, code in found}


def called(text: str, known: dict[str, str]) -> list[str]:
    """Return `name: digest` of the functions that a text calls, and of those that they call."""
    waiting, found = [text], dict[str, str]()
    while waiting:
        code = waiting.pop()
        for name in known:
            if name not in found and re.search(rf"\b{name}\(", code):
                found[name] = digest(ast.parse(known[name]))
                waiting.append(known[name])
    return [f"{name}: {found[name]}" for name in sorted(found)]


def without_comments(text: str) -> list[str]:
    """Return the lines of a part of a program without comments; lines of these alone are empty."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return [line.rstrip() for line in lines]


def deciding(lines: list[str]) -> str:
    """Return the sections of a rule's body that decide its result."""
    kept, inside = [], False
    for line in filter(None, lines):
        if section := re.match(r"    (\w+):", line):
            inside = section[1] in SECTIONS
        if inside:
            kept.append(line.strip())
    return "\n".join(kept)


def command_of(rule: str) -> str:
    """Return what decides the result of a rule; empty if there is no such rule."""
    return commands().get(rule, "")
