"""What the bundled pair is trained on: whole problems, and drills of one skill each.

Whole problems teach the words at once and the skills slowly, since few of their tokens need any:
a drill has its loss on those tokens alone.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from demo_pair import task
from demo_pair.tokenizer import END_OF_TURN

Parts = list[tuple[str, bool]]  # (text, whether it is to be learned)
THINK = ("<think>\n", False)
FACTS_PER_ROW = 4
COPIED_STEP = re.compile("(?<= says to)( [^,]+)")


@dataclass(frozen=True)
class Drill:
    """`write(random, problem, slips)`; `prompted`: the problem's chat prompt goes before it."""

    write: Callable[[Random, task.Problem, float], Parts]
    split: str = "train"
    prompted: bool = True


def text(random: Random, problem: task.Problem, slips: float) -> Parts:
    """A whole answer; `slips`: see `task.slip`."""
    return [(task.completion(random, problem, slips) + END_OF_TURN, True)]


def arithmetic(random: Random, _problem: task.Problem, slips: float) -> Parts:
    """Facts, one after the other, in the words of the traces."""
    parts: Parts = []
    for _ in range(FACTS_PER_ROW):
        operator, operand = task.draw_step(random)
        value = random.randrange(100)
        result = task.slip(random, task.apply(value, operator, operand), slips)
        fact = " " + task.sum_(value, operator, operand, result)
        head, _, _ = fact.rpartition(f" {result:02d}.")
        parts += [(head, False), (f" {result:02d}.", True)]
    return parts


def lookup(random: Random, problem: task.Problem, _slips: float) -> Parts:
    """Every step of the problem once, in random order: what it says, copied from the prompt."""
    parts: Parts = [THINK]
    steps = list(enumerate(problem.steps))
    random.shuffle(steps)
    for i, (operator, operand) in steps:
        sentence = task.move_sentence(random, task.ORDINALS[i], operator, operand, problem.start)
        head, says, tail = sentence.partition(" says to")
        copied, _, _ = tail.partition(",")
        parts += [(head + says, False), (copied, True), (",\n\n", False)]
    return parts


def recall(random: Random, problem: task.Problem, slips: float) -> Parts:
    """The same where whole answers say it: hundreds of tokens behind the prompt."""
    pieces = COPIED_STEP.split(task.completion(random, problem, slips))
    return [(piece, i % 2 == 1) for i, piece in enumerate(pieces)]


def options(random: Random, problem: task.Problem, _slips: float) -> Parts:
    """Every option's letter, in random order."""
    parts: Parts = [THINK]
    for result in random.sample(problem.options, len(problem.options)):
        letter = problem.box(result)
        sentence = task.conclusion(random, problem, result)
        head, _, tail = sentence.partition(f"{letter})")
        parts += [(head, False), (f"{letter})", True), (f"{tail}\n\n", False)]
    return parts


DRILLS = {
    "text": Drill(text),
    "choice_text": Drill(text, split="train_choice"),
    "arithmetic": Drill(arithmetic, prompted=False),
    "lookup": Drill(lookup),
    "recall": Drill(recall),
    "choice_recall": Drill(recall, split="train_choice"),
    "options": Drill(options, split="train_choice"),
}
