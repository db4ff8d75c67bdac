r"""Compare math answers: by math-verify, and exactly where it rounds.

math-verify takes numbers below 1e-15 for zero, and decimals for equal that agree in six digits.
Answers that nothing can work out, such as towers of powers, equal only themselves.
"""

import math
import re
from dataclasses import replace
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify
from math_verify.errors import TimeoutException
from math_verify.utils import timeout
from sympy import Basic, Expr, MatrixBase, Pow, Rational, Union, binomial, exp, factorial

from stages.analysis.answer_forms import RELATION, as_latex, elements, exact, readings, tidy, words
from stages.analysis.answer_units import units

# The box alone and all of it; units are left to `tidy`, which knows them from variables.
BOX = LatexExtractionConfig(
    try_extract_without_anchor=False,
    boxed_match_priority=0,
    normalization_config=replace(
        LatexExtractionConfig().normalization_config, units=False, boxed="last"
    ),
)
SECONDS = 5  # for each of reading, working out and comparing
MAX_LENGTH, MAX_TOKENS, MAX_DEPTH = 5_000, 400, 20  # longer answers take the parser seconds
MAX_DIGITS = 20_000  # of a number that is worked out
TOKEN = re.compile(r"\d+|\\[A-Za-z]+|\S")
# Numbers that are worked out while they are read: towers, binomials; and very long ones.
HOPELESS = re.compile(r"\d\s*\^\W*\d+\s*\^\W*\d+\s*\^|binom\W*\d{6,}\W+\d{4,}|\d{1000}")
EITHER = re.compile(r"\s*(?:\\text\s*\{\s*or\s*\}|\\lor(?![A-Za-z])|\\vee(?![A-Za-z])|\bor\b)\s*")
SUM = r"[^=()]*[A-Za-z}]\s*[+-][^=()]*[A-Za-z][^=()]*="
WORD = re.compile("[A-Za-z]{4,}")
LONG_DECIMAL = re.compile(r"-?\d*\.(\d{6,})")
Parsed = list[Basic | MatrixBase | str]


def same_math(gold: str, predicted: str) -> bool:
    r"""Return whether two answers mean the same: "x > 2" and "(2, \infty)" do."""
    if max(len(gold), len(predicted)) > MAX_LENGTH:
        return gold.split() == predicted.split()
    gold, predicted = as_latex(gold), as_latex(predicted)
    named = units(gold), units(predicted)
    if all(named) and named[0].isdisjoint(named[1]):
        return False
    wanted, given = tidy(gold), tidy(predicted)
    if words(wanted) == words(given) or words(gold) == words(predicted):
        return True
    if WORD.fullmatch(wanted) and WORD.fullmatch(given):
        return False  # not products of variables in another order
    if not readable(wanted) or not readable(given):
        return False
    if set_and_tuple(wanted, given) or set_and_tuple(given, wanted):
        return False
    if re.match(SUM, wanted) and not re.search(RELATION, given):
        return False  # an equation of two unknowns is not its right side
    return any(same_value(*pair) for pair in readings(wanted, given))


def set_and_tuple(one: str, other: str) -> bool:
    r"""Return whether one answer is a set \{1, 2\} and the other one a pair or interval (1, 2)."""
    in_set, in_tuple = re.fullmatch(r"\\\{(.*)\\\}", one), re.fullmatch(r"[(\[](.*)[)\]]", other)
    if not in_set or not in_tuple or len(elements(other)) > 1:
        return False
    return min(len(elements(in_set[1])), len(elements(in_tuple[1]))) > 1


def readable(answer: str) -> bool:
    """Return whether an answer can be read in a short time."""
    depth = deepest = 0
    for character in answer:
        depth += {"{": 1, "(": 1, "[": 1, "}": -1, ")": -1, "]": -1}.get(character, 0)
        deepest = max(deepest, depth)
    short = len(TOKEN.findall(answer)) <= MAX_TOKENS
    return short and deepest <= MAX_DEPTH and not HOPELESS.search(answer)


def same_value(gold: str, predicted: str) -> bool:
    """Return whether two answers have the same value; False if that cannot be worked out."""
    try:
        wanted, given = read(exact(gold)), read(exact(predicted))
        if not wanted or not given:
            return False
        if digits(wanted[0]) + digits(given[0]) > MAX_DIGITS:
            return bool(wanted[0] == given[0])
        same = timeout(SECONDS)(exactly)(wanted[0], given[0])
        if same is False:
            same = timeout(SECONDS)(rounded)(gold, predicted, wanted[0], given[0])
        if same is not None:
            return bool(same)
        return bool(verify(wanted, given, numeric_precision=50, allow_set_relation_comp=True))
    except (Exception, TimeoutException):  # sympy raises errors of every kind
        return False


def read(answer: str) -> Parsed:
    """Return an answer as math-verify reads it: its expression, if it finds one, and its text.

    Of inequalities joined by "or" it is their union.
    """
    parts = EITHER.split(answer)
    if len(parts) > 1 and all(re.search(r"[<>]|\\[lg]e", part) for part in parts):
        relations: list[Any] = [read(part)[0] for part in parts]
        return [Union(*(relation.as_set() for relation in relations))]
    parsed: Parsed = parse(f"\\boxed{{{answer}}}", [BOX])
    return parsed


def digits(value: Any) -> float:
    """Return about how many digits it takes to work out an expression."""
    if isinstance(value, Rational):
        return math.log10(abs(value.p) or 1) + math.log10(value.q)
    parts = value.flat() if isinstance(value, MatrixBase) else getattr(value, "args", ())
    sizes = [digits(part) for part in parts]
    if isinstance(value, Pow | exp | factorial | binomial):
        # By the value of the exponent, or of what the factorial is of.
        return (sizes[0] + 1) * 10 ** min(sizes[-1], 9)
    return sum(sizes)


def exactly(first: Any, second: Any) -> bool | None:
    """Return whether two numbers are equal; None if one is no number, or math-verify's task.

    Rational numbers are compared exactly, others as far as they can be computed.
    """
    if not all(isinstance(one, Expr) and not one.free_symbols for one in (first, second)):
        return None
    numbers = [one.doit() for one in (first, second)]
    if not all(one.is_number and one.is_finite for one in numbers):
        return None
    if all(isinstance(one, Rational) for one in numbers):
        return bool(numbers[0] == numbers[1])
    difference, size = abs((numbers[0] - numbers[1]).evalf()), abs(numbers[0].evalf())
    return bool(difference <= 1e-12 * size)


def rounded(gold: str, predicted: str, wanted: Any, given: Any) -> bool:
    """Return whether one of two numbers is written as a decimal that rounds the other.

    A decimal of six digits or more is meant for the number; a shorter one is not exact.
    """
    for decimal, text, value in ((predicted, gold, wanted), (gold, predicted, given)):
        found = LONG_DECIMAL.fullmatch(decimal)
        significant = len(decimal.strip("-0.").replace(".", "")) >= 6
        if found and significant and "." not in text and value.is_real:
            half = Rational(1, 2 * 10 ** len(found[1]))
            return bool(abs(value - Rational(decimal)).evalf() <= half)
    return False
