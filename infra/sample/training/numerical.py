"""Turns drafts of science questions into questions with four near options."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from infra.sample.training.items import Choice

LEVELS = (1, 2, 3)
"""How large the numbers of training are; a fourth level, for tests, has only near options."""
_REACH = {1: 1, 2: 3, 3: 6, 4: 30}
_SPREAD = {1: 5, 2: 5, 3: 5, 4: 40}


@dataclass(frozen=True, slots=True)
class Draft:
    """A question before its wrong options are settled.

    Attributes:
        question: The question text.
        answer: The right number.
        unit: What follows the number in an option.
        reasoning: How the number comes about.
        traps: Numbers that a typical mistake leads to.
    """

    question: str
    answer: int
    unit: str
    reasoning: str
    traps: tuple[int, ...] = ()


Drafter = Callable[[random.Random, int], Draft]
Maker = Callable[[random.Random, int], Choice]
KINDS: list[Maker] = []
"""Every kind of question; a maker takes the source of chance and a level."""


def upto(rng: random.Random, level: int, low: int, high: int) -> int:
    """Draws a number whose upper limit grows with the level."""
    return rng.randint(low, high * _REACH[level])


def numeric(domain: str, subdomain: str) -> Callable[[Drafter], Drafter]:
    """Registers a function that drafts questions with a numerical answer."""

    def register(draw: Drafter) -> Drafter:
        def make(rng: random.Random, level: int) -> Choice:
            draft = draw(rng, level)
            right = _show(draft.answer, draft.unit)
            return Choice(
                question=draft.question,
                correct=right,
                wrong=_options(draft, rng, level),
                category=domain,
                subject=subdomain,
                reasoning=f"{draft.reasoning} So it is {right}.",
            )

        KINDS.append(make)
        return draw

    return register


def textual(make: Maker) -> Maker:
    """Registers a function that makes a whole question, for answers that are no plain number."""
    KINDS.append(make)
    return make


def _show(number: int, unit: str) -> str:
    return f"{number} {unit}".rstrip()


def _options(draft: Draft, rng: random.Random, level: int) -> tuple[str, str, str]:
    """Three wrong options: up to two typical mistakes, and numbers of about the right size."""
    spread = max(3, draft.answer // _SPREAD[level])
    step = 10 if draft.answer > 40 else 1
    traps = rng.sample(draft.traps, rng.randint(0, 2)) if level in LEVELS else []
    wrong: list[int] = []
    while len(wrong) < 3:
        shift = rng.randint(-spread, spread)
        number = traps.pop() if traps else draft.answer + shift - shift % step
        if number > 0 and number != draft.answer and number not in wrong:
            wrong.append(number)
        step = step if rng.random() < 0.8 else 1
    first, second, third = (_show(number, draft.unit) for number in wrong)
    return first, second, third
