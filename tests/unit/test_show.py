"""An answer on a terminal, and the view that pages share."""

import re
from pathlib import Path

import pytest

from stages import view
from stages.analysis.reading import Part
from stages.runtime.errors import UserError
from stages.tracking.targets import STAGES
from stages.view import show
from stages.view.terminal import CUE, painted

pytestmark = pytest.mark.unit

PARTS = [
    Part("large", "reasoning", "One. Thus", "Thus", 3, 1.0),
    Part("small", "answer", " two.", None, 2, 0.5),
]
ANSWER = {
    "large_tokens": 3, "small_tokens": 2, "finish_reason": "length", "wall_s": 1.5,
    "n_switches": 1,
}  # fmt: skip
SCORE = {"method": "relaygen", "correct": False, "predicted": None, "gold": "2"}


def test_an_answer_is_shown_with_cues_segments_and_verdict() -> None:
    text, _, first, second, _, verdict, last = show.lines(ANSWER, SCORE, PARTS, coloured=False)
    assert text == f"One. Thus{CUE} two."
    assert re.search(r"large .* 3 tokens .* 1.000 s .* cue: Thus", first)
    assert "cue" not in second
    assert verdict == "RelayGen: wrong; answer: none; right answer: 2"
    assert last == "5 tokens in 1.5 s, 60 % by the large model, 1 hand-offs, ended by the budget"


def test_only_a_terminal_gets_colours() -> None:
    assert painted("x", "large", coloured=False) == "x"
    assert painted("x", "large", coloured=True) != painted("x", "small", coloured=True) != "x"


def test_a_method_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "generations/large").mkdir(parents=True)
    with pytest.raises(UserError, match="no such file; there are: large"):
        show.found(tmp_path / "generations/other/b.parquet")


def luminance(colour: str) -> float:
    """The relative luminance of #RGB or #RRGGBB, as WCAG defines it."""
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    ("text", "back"),
    [
        *((text, back) for text in ("text", "quiet", "bad", "good") for back in ("page", "box")),
        ("large", "page"), ("large", "large-back"), ("small", "page"), ("small", "small-back"),
    ],
)  # fmt: skip
def test_text_has_the_contrast_that_wcag_asks_for(text: str, back: str, dark: bool) -> None:
    blocks = re.findall(r":root \{(.*?)\}", view.part("answer.css"), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", blocks[dark]))
    bright, dim = sorted((luminance(colours[text]), luminance(colours[back])), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5


def test_the_report_depends_on_every_part_of_the_view() -> None:
    files = {f"stages/view/{name}" for name in view.PARTS}
    assert files <= set(STAGES["report"].files)


def test_the_served_page_holds_every_part_of_the_view() -> None:
    page = view.completed(Path("stages/serving/page.html").read_text())
    assert "[[" not in page.replace("([[", "")
    assert page.count("class AnswerView") == page.count('<template id="answer">') == 1
