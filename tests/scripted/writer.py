"""What the scripted server writes: worked solutions of the bundled pair's task, right or wrong.

An answer is a sequence of sentences whose order is fixed and whose words are drawn. The full stops
so far say which sentence comes next, so that any text is continued from where it ends, whoever
wrote it. The same model, seed and text so far give the same continuation.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from demo_pair import task

ASSISTANT = "<|im_start|>assistant\n"
THINK_END = "</think>"
START = re.compile(r"starts at (\d\d)")
STEP = re.compile(r"Step \w+: (add|subtract|multiply by) (\d\d)")
OPTION = re.compile(r"(\d\d) \([A-D]\)")
RESULT = re.compile(r"must be (\d\d)")
OPERATORS = {words[0]: operator for operator, words in task.OPERATORS.items()}
DRAWS = 300  # of a sentence, to find one that begins as the text so far ends


@dataclass(frozen=True)
class Sentence:
    """`words` of a random generator and the counter's value; `before`: the blanks before it."""

    before: str
    words: Callable[[Random, int], str]

    def rest(self, random: Random, value: int, begun: str) -> str:
        """What is missing behind `begun`; all of it where nothing drawn begins like that."""
        for _ in range(DRAWS):
            text = self.before + self.words(random, value)
            if text.startswith(begun):
                return text[len(begun) :]
        return text


@dataclass(frozen=True)
class Writer:
    """A model. `slips`: how often it gets a result wrong."""

    name: str
    slips: float

    def continuation(self, chat: str, seed: int | None) -> str:
        """The rest of the answer that a rendered chat has begun."""
        prompt, found, written = chat.rpartition(ASSISTANT)
        problem = parse(prompt if found else chat)
        reasoning, ended, answer = written.partition(THINK_END) if found else ("", "", "")
        rest = "" if ended else self._reasoning(problem, reasoning, seed)
        value = last_result(problem, reasoning + rest)
        random = self._random(seed, reasoning + rest + answer)
        return rest + self._answer(problem).rest(random, value, answer)

    def _reasoning(self, problem: task.Problem, written: str, seed: int | None) -> str:
        """What is still to come between the think tags, the end tag included."""
        text = written
        sentences = list(self._sentences(problem))
        for sentence in sentences[min(written.count("."), len(sentences) - 1) :]:
            begun = text.rfind(".") + 1
            value = last_result(problem, text[:begun])
            text += sentence.rest(self._random(seed, text), value, text[begun:])
        return text[len(written) :]

    def _random(self, seed: int | None, text: str) -> Random:
        """A generator for what comes after `text`."""
        return Random(f"{self.name}/{seed}/{text}")

    def _sentences(self, problem: task.Problem) -> Iterator[Sentence]:
        """The reasoning, up to and including its end tag."""
        n = task.ORDINALS[len(problem.steps) - 1]
        openings = ("Okay, the counter starts", "Alright, we begin with the counter")
        tail = f" at {problem.start:02d} and there are {n} steps."
        yield Sentence("<think>\n", lambda random, _: random.choice(openings) + tail)
        for i in range(len(problem.steps)):
            yield from self._step(problem, i)
        yield Sentence("\n\n", lambda *_: f"All {n} steps are done by this point.")
        yield Sentence(" ", lambda random, value: task.conclusion(random, problem, value))
        yield Sentence("\n", lambda *_: THINK_END)

    def _step(self, problem: task.Problem, i: int) -> Iterator[Sentence]:
        """The paragraph about step `i`."""
        operator, operand = problem.steps[i]
        name, former = task.ORDINALS[i], task.ORDINALS[i - 1]

        def move(random: Random, value: int) -> str:
            return task.move_sentence(random, name, operator, operand, value)

        def hard(random: Random, value: int) -> str:
            result = task.slip(random, task.apply(value, operator, operand), self.slips)
            return task.hard_sentence(random, value, operator, operand, result)

        if i:
            settled = (
                f"That settles step {former} of the chain and leaves one step less to be done."
            )
            yield Sentence("\n\n", lambda *_: settled)
        yield Sentence(" " if i else "\n\n", move)
        yield Sentence(" ", lambda random, _: task.lead_in(random))
        yield Sentence(" ", hard)
        yield Sentence(" ", lambda random, value: task.easy_sentence(random, name, value))

    def _answer(self, problem: task.Problem) -> Sentence:
        """What stands behind the reasoning."""

        def words(random: Random, value: int) -> str:
            return task.final_answer(problem, task.slip(random, value, self.slips / 2))

        return Sentence("\n\n", words)


def parse(prompt: str) -> task.Problem:
    """The problem that a prompt asks; one of its own for a prompt of another kind."""
    start = START.search(prompt)
    steps = [(OPERATORS[word], int(operand)) for word, operand in STEP.findall(prompt)]
    if not start or not steps:
        return task.Problem(len(prompt) % 100, (("+", 17), ("*", 3)))
    return task.Problem(int(start[1]), tuple(steps), tuple(map(int, OPTION.findall(prompt))))


def last_result(problem: task.Problem, text: str) -> int:
    """The counter's value at the end of `text`."""
    results = RESULT.findall(text)
    return int(results[-1]) if results else problem.start


def margin(sentence: str, place: int) -> float:
    """How sure a model is of a token at `place` in a sentence: less where it brings a result."""
    noise = Random(f"{place}/{sentence}").random()
    return 0.3 + 0.4 * noise if RESULT.search(sentence) else 0.8 + 0.19 * noise
