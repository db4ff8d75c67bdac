r"""Find the final answer of a text: what stands in its last box.

Boxes are \boxed, \fbox and \framebox, with braces or without, as in \boxed 7. An empty box says
nothing. Boxes joined by a comma or a word, as in \boxed{1} and \boxed{2}, are one answer.
"""

import re
from dataclasses import dataclass

# What opens or closes something; any other character behind a backslash is escaped.
TOKEN = re.compile(
    r"(?P<box>\\{1,4}(?:boxed|fbox|framebox)(?![A-Za-z])\s*)(?P<brace>\{)?|\\.|[{}]", re.DOTALL
)
# What a box without braces holds: no blank, and groups only whole.
BARE = re.compile(r"(?:\\[A-Za-z%,!]+|\{(?:[^{}]|\{[^{}]*\})*\}|[^\s$\\{}])*")
EMPTY = re.compile(
    r"(?:[\s~{}.…?$*]|\\[\s,;:!]|\\[hv]?phantom\{[^{}]*\}"
    r"|\\(?:q?quad|text|mathrm|[lc]?dots)(?![A-Za-z]))*"
)
LAYOUT = re.compile(r"\\(?:q?quad|text|mbox|mathrm)(?![A-Za-z])|\\[\s,;:!()\[\]]|[\s$*{}~]")
JOINTS = {",", ";", "and", "or", ",and", ",or", "&", r"\&"}


@dataclass(frozen=True)
class Box:
    """A box in a text: characters [start, end), and what it holds."""

    start: int
    end: int
    content: str


def last_boxed(text: str) -> str | None:
    r"""Return what the last complete box of `text` holds; None without one, or if all are empty."""
    boxes = [box for box in outermost(text) if not EMPTY.fullmatch(box.content)]
    if not boxes:
        return None
    joined = [boxes.pop()]
    while boxes and LAYOUT.sub("", text[boxes[-1].end : joined[0].start]).casefold() in JOINTS:
        joined.insert(0, boxes.pop())
    return ", ".join(dict.fromkeys(box.content for box in joined))


def unboxed(content: str) -> str:
    """Return what is in a box, and in no box inside it that holds all."""
    while (boxes := outermost(content)) and boxes[0].end - boxes[0].start == len(content):
        content = boxes[0].content
    return content


def outermost(text: str) -> list[Box]:
    """Return the complete boxes of `text` that are in no other one."""
    open_groups: list[tuple[int, int] | None] = []  # of a box: where it and its content start
    found: list[Box] = []
    for token in TOKEN.finditer(text):
        if token["brace"]:
            open_groups.append((token.start(), token.end()))
        elif token["box"]:
            found.append(without_braces(text, token))
        elif token[0] == "{":
            open_groups.append(None)
        elif token[0] == "}" and open_groups and (group := open_groups.pop()):
            start, inside = group
            while found and found[-1].start > start:
                found.pop()
            found.append(Box(start, token.end(), text[inside : token.start()].strip()))
    return found


def without_braces(text: str, token: re.Match[str]) -> Box:
    r"""Return a box without braces; the full stop of its sentence is not in it."""
    content = BARE.match(text, token.end())
    assert content, "it may be empty"
    return Box(token.start(), content.end(), content[0].rstrip(".,;:"))
