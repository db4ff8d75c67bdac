"""Read the letter of an answer to a multiple-choice question."""

import re
import unicodedata

MAX_LENGTH = 2_000  # characters; a letter comes first
# Macros that say how their argument looks.
FONT = re.compile(
    r"\\(?:text[a-z]*|math(?:rm|bf|it|sf|tt|bb|cal|normal)|[mh]box|boldsymbol|bm|operatorname|boxed"
    r"|fbox|emph|underline|left|right|rm|bf)(?![A-Za-z])\.?|\\(?:text)?color\s*\{[^{}]*\}"
)
SPACE = re.compile(r"\\q?quad|\\[\s,;:!]|~")
MARKUP = re.compile(r"\\[()\[\]{}]|[{}<>$*`\"'\u201c\u201d\u2018\u2019]")
LEAD = re.compile(
    r"(?:(?:the|my|final|correct|right|best)\s+)*(?:answer|option|choice)s?(?:\s+is)?\s*:?\s*",
    re.IGNORECASE,
)
# A letter, and what tells it from the text of its option.
LABEL = re.compile(
    r"[(\[]?\s*([A-Z])\s*(?:(?P<mark>[)\].:,]|(?<=\s)[(\u2013\u2014-])(?P<rest>.*))?",
    re.IGNORECASE | re.DOTALL,
)
JOINT = r"(?:[,;/&\n]|\band\b|\bor\b)"
NEXT = rf"\s*[(\[]?[A-Z](?=\s*(?:$|[)\].:]|{JOINT}))"
# What behind a first letter says that there is a second one.
ANOTHER = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\s*(?:{JOINT}\s*)+{NEXT}",  # A) and B
        r"(?:\s*[(\[]?[A-Z][)\]])+\s*$",  # (A)(B)
        r"[A-Z]\.?$",  # A.B
        rf"(?s).*{JOINT}\s*[(\[]?[A-Z](?:[)\]]|[.:]\s+\S)",  # A) 7 m and B) 8 m
    )
]
BRACKETS = re.compile(r"\([^()]{2,}\)")


def choice_letter(predicted: str) -> str | None:
    r"""Return the letter of "B", "(B)", "\text{B}", "B) 7 m", "Option B" in upper case.

    None for other answers, and for those that name a second letter: "A and B", "(A)(B)".
    """
    match = LABEL.fullmatch(bare(predicted))
    if not match or (match["mark"] and another(match["mark"], match["rest"])):
        return None
    return match[1].upper()


def bare(predicted: str) -> str:
    """Return an answer without markup, and without words like "the answer is"."""
    text = unicodedata.normalize("NFKC", predicted[:MAX_LENGTH])
    text = MARKUP.sub("", FONT.sub("", SPACE.sub(" ", text))).strip()
    while lead := LEAD.match(text):
        text = text[lead.end() :]
    return text


def another(mark: str, rest: str) -> bool:
    """Return whether what follows a letter and its mark names another letter."""
    rest = BRACKETS.sub("", rest)
    if mark in ",(-\u2013\u2014" and re.match(NEXT, rest, re.IGNORECASE):
        return True
    return any(pattern.match(rest) for pattern in ANOTHER)
