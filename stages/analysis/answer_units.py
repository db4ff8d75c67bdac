r"""Find the units of numbers in answers: in 5\text{ cm} and in 5 cm, but 5x has a variable."""

import re

# In a macro, letters stand for themselves and not for variables.
TEXT_MACRO = r"\\(?:text(?:normal|rm|bf|it|sf|up)?|math(?:rm|bf|it|sf|normal)|[mh]box|operatorname)"

# Units by their names; the first of a line is the one that they are compared by.
NAMES = (
    "mm millimeter millimeters millimetre millimetres",
    "cm centimeter centimeters centimetre centimetres",
    "m meter meters metre metres",
    "km kilometer kilometers kilometre kilometres",
    "in inch inches",
    "ft foot feet",
    "yd yard yards",
    "mi mile miles",
    "mg milligram milligrams",
    "g gram grams",
    "kg kilogram kilograms",
    "oz ounce ounces",
    "lb lbs pound pounds",
    "ml milliliter milliliters millilitre millilitres",
    "l liter liters litre litres",
    "s sec second seconds",
    "min minute minutes",
    "h hr hrs hour hours",
    "day days",
    "week weeks",
    "month months",
    "year years",
    "cent cents",
    "dollar dollars usd",
    "degree degrees",
    "unit units",
    "am a.m",
    "pm p.m",
    *"january february march april may june july".split(),  # noqa: SIM905
    *"august september october november december".split(),  # noqa: SIM905
)
UNITS = {name: names.split()[0] for names in NAMES for name in names.split()}
LONG_NAMES = "|".join(name for name in sorted(UNITS, reverse=True) if len(name) > 1)
NO_UNITS = r"(?!\s*\{\s*(?:and|or|e|i|x|y|z|percent|mod)\s*\})"
POWER = r"(?:\s*\^\s*(?:\d|\{\s*-?\d\s*\}))?"
# As text, any word is a unit: 5\text{ apples}.
TEXT = rf"{TEXT_MACRO}{NO_UNITS}\s*\{{[^{{}}\d]*\}}{POWER}"
QUOTIENT = rf"\\frac\s*\{{\s*{TEXT}\s*\}}\s*\{{\s*{TEXT}\s*\}}"
WORD = rf"(?:(?:sq|square|cu|cubic)\.?\s+)?(?:{LONG_NAMES})(?![A-Za-z])(?:/[a-z]+)?{POWER}"
# Behind a number, and before the end of the answer or of its element.
UNIT = re.compile(
    r"(?:(?<=[\d})!])|(?<=\\pi)|(?<=\\circ))\s*"
    rf"(?:(?:(?:/|\\cdot)?\s*(?:{QUOTIENT}|{TEXT})\s*)+|{WORD}|(?<=\s)[mgshl]{POWER}"
    r"|(?<=\\circ)\s*[CF])\s*(?=$|[,;)\]]|\\\})",
    re.IGNORECASE,
)


def units(answer: str) -> set[str]:
    r"""Return the known units of an answer: {"cm"} for 5\text{ centimeters}."""
    found = [re.sub(r"\\[A-Za-z]+|[^A-Za-z.]", "", unit[0]) for unit in UNIT.finditer(answer)]
    names = (one.casefold().rstrip(".") for one in found)
    return {UNITS[name] for name in names if name in UNITS}
