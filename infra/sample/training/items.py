"""The two kinds of question the sample world asks, and the rule that keeps some of them back."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field

HOLD_OUT_ONE_IN = 8


@dataclass(frozen=True, slots=True)
class WordProblem:
    """A grade-school word problem with a worked answer in the style of gsm8k."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A question with one right and three wrong options.

    Attributes:
        question: The question text, without options.
        correct: The right option.
        wrong: Three wrong options.
        category: One of Global-MMLU's subject categories, or a GPQA high-level domain.
        subject: The subject (Global-MMLU) or subdomain (GPQA).
        reasoning: A worked explanation that ends before the letter is named.
        cultural: Whether the fact is tied to a country or culture.
    """

    question: str
    correct: str
    wrong: tuple[str, str, str]
    category: str
    subject: str
    reasoning: str = ""
    cultural: bool = field(default=False)

    def shuffled(self, rng: random.Random) -> tuple[list[str], int]:
        """Returns the four options in random order and the index of the right one."""
        options = [self.correct, *self.wrong]
        rng.shuffle(options)
        return options, options.index(self.correct)


def held_out(question: str) -> bool:
    """Whether a question belongs to the test data and so never to the training text.

    The rule reads nothing but the question's text, so training and test cannot overlap however
    either is sampled.
    """
    return zlib.crc32(question.encode()) % HOLD_OUT_ONE_IN == 0


def chance(seed: str) -> random.Random:
    """A source of chance that gives the same draws for the same seed on every machine."""
    return random.Random(seed)  # noqa: S311
