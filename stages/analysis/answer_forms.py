r"""Bring math answers into forms that math-verify reads as a person does.

Left as they are, the blank between thousands (10\,000) and the one in a mixed number (2 2/3) are
products, bases (25_8) are dropped, I^2 is I, and systems of equations, fractions with \pm and signs
that are no LaTeX are not read at all.
"""
# ruff: noqa: RUF001 - the signs that stand in answers

import re
import unicodedata
from collections.abc import Callable, Iterator

from stages.analysis.answer_units import TEXT_MACRO, UNIT
from stages.analysis.boxes import unboxed

Replacement = str | Callable[[re.Match[str]], str]
Rules = list[tuple[re.Pattern[str], Replacement]]

RELATION = r"(?:=|<|>|\\(?:leq?|geq?|neq?|lt|gt)(?![A-Za-z]))"
PERCENT = re.compile(r"\s*(?:\\?%|\\text\{\s*percent\s*\}|percent)$")
EXPONENT = re.compile(r"(?<![\w.}])(\d+(?:\.\d+)?)[eE]([+-]?\d{1,4})(?![\w.])")
DECIMAL = re.compile(r"(?<![\d.])(\d*)\.(\d+)(?![\d.])")
PLUS_MINUS = re.compile(r"\\(pm|mp)(?![A-Za-z])")
RAISED, LOWERED = re.compile("[⁺⁻⁰¹²³⁴-⁹]+"), re.compile("[₀-₉]+")
SIGNS = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "×": r"\times ", "÷": r"\div ", "·": r"\cdot ",
        "⋅": r"\cdot ", "π": r"\pi ", "∞": r"\infty ", "∅": r"\emptyset ", "√": r"\sqrt ",
        "°": r"^\circ ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ", "∪": r"\cup ",
        "∩": r"\cap ", "∈": r"\in ", "ℝ": r"\mathbb{R}", "½": r"\frac{1}{2}",
        "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
        "€": "", "£": "", "¥": "", "₹": "",
    }
)  # fmt: skip


def tidy(answer: str) -> str:
    """Return an answer in LaTeX as math-verify can read it, of the same value, without units."""
    text = unboxed(as_latex(answer))
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    return both_signs(text.strip())


def as_latex(answer: str) -> str:
    """Return an answer with LaTeX for signs that are none, and plain blanks."""
    for pattern, mark in ((RAISED, "^"), (LOWERED, "_")):
        answer = pattern.sub(rf"{mark}{{\g<0>}}", answer)
    text = unicodedata.normalize("NFKC", answer.translate(SIGNS)).replace("−", "-")
    return " ".join(text.split())


def words(answer: str) -> str:
    r"""Return an answer as text in lower case, with blanks between words alone.

    \text{June 20} is june 20, and (1 , 2) is (1,2).
    """
    text = re.sub(TEXT_MACRO + r"\s*\{([^{}]*)\}", r"\1", answer).casefold()
    return " ".join(re.sub(r"\s*([^\w\s])\s*", r"\1", text).split()).strip(" .")


def readings(*answers: str) -> Iterator[list[str]]:
    """Yield the possible meanings of answers: of percent signs, and of an e behind a number.

    10 % is 10 if percent were asked for, else 0.1; 3e-2 is 3 times e, less 2, or 0.03.
    """
    bare = [PERCENT.sub("", answer) for answer in answers]
    hundredths = [
        rf"\frac{{{number}}}{{100}}" if number != answer else answer
        for number, answer in zip(bare, answers, strict=True)
    ]
    powers = [EXPONENT.sub(r"\1 \\cdot 10^{\2}", answer) for answer in bare]
    yield bare
    yield from (meaning for meaning in (hundredths, powers) if meaning != bare)


def exact(answer: str) -> str:
    """Return an answer with fractions for its decimals: 0.5 is 5/10."""
    return DECIMAL.sub(
        lambda d: rf"\frac{{{(d[1] + d[2]).lstrip('0') or 0}}}{{1{'0' * len(d[2])}}}", answer
    )


def both_signs(answer: str) -> str:
    r"""Return an answer with two elements for each element of its list that has a \pm in it.

    What is in a set is left to math-verify.
    """
    if not PLUS_MINUS.search(answer) or r"\{" in answer:
        return answer
    signs: list[dict[str, str]] = [{"pm": "+", "mp": "-"}, {"pm": "-", "mp": "+"}]
    values = [
        PLUS_MINUS.sub(lambda sign, chosen=chosen: chosen[sign[1]], element)  # type: ignore[misc]
        for element in elements(answer)
        for chosen in signs
    ]
    return ", ".join(dict.fromkeys(values))


def elements(answer: str) -> list[str]:
    """Return the parts of an answer between the commas that are in no brackets."""
    parts, depth = [""], 0
    for character in answer:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def rows_as_list(system: re.Match[str]) -> str:
    """Return a system of equations as a list; other rows, as of a matrix, as they are."""
    rows = [row.strip().rstrip(",;. ") for row in system["rows"].split(r"\\")]
    rows = [row for row in rows if row]
    if not all(re.search(RELATION, row) for row in rows):
        return system[0]
    # In a piecewise function, a row's second cell says where its first one holds.
    if any(re.search(rf"&\s*(?!{RELATION})\S", row) for row in rows):
        return system[0]
    return ", ".join(row.replace("&", "") for row in rows)


def based(number: re.Match[str]) -> str:
    """Return a number in another base than ten as a name: it equals only itself."""
    digits, base = (number[1] or number[2]).casefold(), int(number[3] or number[4])
    if not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in digits):
        return number[0]
    return digits if base == 10 else rf"\text{{{digits.lstrip('0')}base{base}}}"


def repeating(number: re.Match[str]) -> str:
    """Return a repeating decimal as a fraction."""
    whole, head, period = number[1], number[2], number[3]
    value = int(whole + head + period) - int(f"0{whole}{head}")
    return rf"\frac{{{value}}}{{{'9' * len(period)}{'0' * len(head)}}}"


def joined(number: re.Match[str]) -> str:
    """Return a number without what stands between its thousands."""
    return re.sub("[ ,]", "", number[0])


def imaginary(answer: re.Match[str]) -> str:
    """Return an answer with I for the imaginary unit, unless i is an index in it.

    math-verify takes i for a variable, and drops the exponent of an I without braces.
    """
    text = answer[0]
    if not re.search(r"_\s*\{?\s*i", text):
        text = re.sub(r"(?<![A-Za-z\\])i(?![A-Za-z])", "I", text)
    return re.sub(r"(?<![A-Za-z\\])I(?=\s*\^)", "{I}", text)


def rules(*pairs: tuple[str, Replacement]) -> Rules:
    """Return patterns, compiled, with their replacements."""
    return [(re.compile(pattern, re.DOTALL), replacement) for pattern, replacement in pairs]


MARKUP = rules(
    (r"^\*\*(.*)\*\*$", r"\1"),
    (r"\*\*", "^"),
    (r"\\?\$|`|(?<!\\)\\[()\[\]]|\\(?:boxed|fbox|displaystyle|textstyle)(?![A-Za-z])", ""),
    (r"\{\s*\\(?:rm|bf|it)\s+([^{}]*)\}|\\(?:rm|bf|it)\s*\{([^{}]*)\}", r"\\mathrm{\1\2}"),
    (r"\\(?:rm|bf|it)(?![A-Za-z])", ""),
    (r"\\(?:text)?color\s*\{[^{}]*\}|\\(?:tiny|small|[lL]arge|LARGE|[hH]uge)(?![A-Za-z])", ""),
)
LAYOUT = rules(
    (r"\\([lr])brace(?![A-Za-z])", lambda brace: r"\{" if brace[1] == "l" else r"\}"),
    (r"\\left\s*\\\{(.*)\\right\s*\.", r"\1"),  # of a system
    (r"\\(?:left|right)(?![A-Za-z])\s*\.?|\\[bB]igg?[lrm]?(?![A-Za-z])", ""),
    (r",\s*(?:\\!\s*)+(?=\d)|\\!", ""),
    (r"\{\s*,\s*\}", ","),
    (r"(?<!\\)\\[,;:>\s]|\\(?:q?quad|(?:thin|med|thick|en)space)|~", " "),
    (r"\{\s*\\?%\s*\}", r"\\%"),
    (
        r"\\begin\{(?P<kind>cases|array|aligned|align\*?|gathered|split)\}(?:\{[^{}]*\})?"
        r"(?P<rows>.*?)\\end\{(?P=kind)\}",
        rows_as_list,
    ),
    (r"^ +|[ .,;]+$", ""),
)
SETS = rules(
    (r"\\varnothing(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset "),
    (r"^\\\{\s*(\([^()]*\))\s*\\\}$", r"\1"),  # of one pair
    (
        r"^\\\{\s*[a-z]\s*(?:\\in\s*\\mathbb\{R\}\s*)?(?:\\mid|\\vert|\\colon|\||:)"
        rf"([^|]*{RELATION}[^|]*)\\\}}$",
        r"\1",
    ),
)
DIGITS = r"\d[\dA-Za-z]*"
NUMBERS = rules(
    (TEXT_MACRO + r"\s*\{\s*(-?[\d.,]+)\s*\}", r"\1"),
    (TEXT_MACRO + r"\s*\{\s*(-?\d[\d.,]*)\s*([A-Za-z. ]+)\}$", r"\1\\text{\2}"),
    (r"(?<![\d.,\w}])[1-9]\d{0,2}(?: +\d{3})+(?!\d)", joined),
    (r"^[+-]?[1-9]\d{0,2}(?:,\d{3})+(?![\d,])", joined),
    (r"(?<![\d.,\w}])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])", r"\1\\frac{\2}{\3}"),
    (r"(\d{0,99})\.(\d{0,99})\\(?:overline|bar|dot)\s*\{?(\d{1,99})\}?", repeating),
    (
        rf"(?<![\w}}^_\\])(?:\(({DIGITS})\)|({DIGITS}))\s*_\s*(?:\{{\s*(\d\d?)\s*\}}|(\d\d?)(?!\d))",
        based,
    ),
    (r"\^\s*(-?\d+(?:\.\d+)?)", r"^{\1}"),
    (r"\\degree(?![A-Za-z])", r"^\\circ "),
    (r"^([^=]*\d)\s*=\s*([A-Za-z])$", r"\2=\1"),
    (UNIT.pattern, ""),
)
# Behind the units: what is upright now is a constant or a variable.
CONSTANTS = rules(
    (rf"{TEXT_MACRO}\s*\{{\s*([A-Za-z]|\\pi)\s*\}}", r" \1"),
    (r"\A.*\Z", imaginary),
    (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"\\sqrt\s*(\d+)", r"\\sqrt{\1}"),
)
RULES = [*MARKUP, *LAYOUT, *SETS, *NUMBERS, *CONSTANTS]
