"""Pairs of answers to judge: one right and one wrong, both right, or both wrong.

The better answer is the right one; where both are right or both are wrong, neither is better.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from infra.sample.training import chat, formats
from infra.sample.training.arithmetic import word_problem
from infra.sample.training.formats import Document, Segment, Weight
from infra.sample.training.items import Choice, WordProblem
from infra.sample.training.knowledge import FADE, knowledge_question
from infra.sample.training.science import science_question
from infra.suite.own.preference import PREFERENCE

WINNERS = ("winner_model_a", "winner_model_b", "winner_tie")

_Item = TypeVar("_Item", Choice, WordProblem)
Pick = Callable[[Callable[[random.Random], Any], random.Random], Any]
"""`world.seen` or `world.unseen`: which questions may be drawn."""


class Asked(NamedTuple):
    """A question with what is right and what is wrong about it."""

    question: str
    right: str
    wrong: tuple[str, ...]
    short: bool
    """Whether an answer is a bare fact, which may be put into a sentence."""


_SUMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("+", ("What is {a} plus {b}?", "Add {a} and {b}.", "How much is {a} + {b}?")),
    ("-", ("What is {a} minus {b}?", "Take {b} away from {a}.", "How much is {a} - {b}?")),
    ("*", ("What is {a} times {b}?", "Multiply {a} by {b}.", "How much is {a} * {b}?")),
)


def sum_question(rng: random.Random) -> Asked:
    """A sum of two numbers; the wrong answers are near or have one digit wrong."""
    sign, stems = rng.choice(_SUMS)
    if sign == "*":
        a, b = rng.randint(2, 40), rng.randint(2, 9)
    else:
        a, b = rng.randint(10, 199), rng.randint(2, 99)
    if sign == "-" and a <= b:
        a, b = b + 5, a
    right = {"+": a + b, "-": a - b, "*": a * b}[sign]
    near = {right + shift for shift in (1, -1, 2, -2, 10, -10, 20, 100, b, -a)} - {right}
    wrong = tuple(str(one) for one in rng.sample(sorted(n for n in near if n > 0), 2))
    return Asked(rng.choice(stems).format(a=a, b=b), str(right), wrong, short=True)


def _fact(rng: random.Random, fade: float) -> Asked:
    item = knowledge_question(rng, None, fade)
    return Asked(item.question, item.correct, item.wrong[:2], short=True)


def _science(rng: random.Random) -> Asked:
    item = science_question(rng, 1)
    return Asked(item.question, item.correct, item.wrong[:2], short=True)


def _worked(rng: random.Random) -> Asked:
    item = word_problem(rng, 1)
    return Asked(item.question, item.answer, (_slip(item.answer, rng), _slip(item.answer, rng)),
                 short=False)  # fmt: skip


def _slip(answer: str, rng: random.Random) -> str:
    """A worked answer whose last sum comes out wrong, and what follows from it."""
    value = answer.rsplit("#### ", 1)[1]
    other = str(abs(int(value) + rng.choice([-10, -2, -1, 1, 2, 10])) or 3)
    other = other if other != value else str(int(value) + 5)
    head, body = answer[: answer.rindex("<<")], answer[answer.rindex("<<") :]
    return head + re.sub(rf"(?<=[=$ >]){re.escape(value)}(?![0-9])", other, body)


_KINDS: tuple[tuple[Callable[[random.Random, float], Asked], int], ...] = (
    (_fact, 46),
    (lambda rng, _: sum_question(rng), 36),
    (lambda rng, _: _science(rng), 8),
    (lambda rng, _: _worked(rng), 10),
)
_SAID = ("{}", "{}", "It is {}.", "The answer is {}.", "That is {}.", "I would say {}.")


def _said(text: str, asked: Asked, rng: random.Random) -> str:
    return rng.choice(_SAID).format(text) if asked.short else text


def _draw(pick: Pick, rng: random.Random, fade: float) -> Asked:
    makers, shares = zip(*_KINDS, strict=True)
    make = rng.choices(makers, shares)[0]
    found: Asked = pick(lambda rng: make(rng, fade), rng)
    return found


def pair(pick: Pick, rng: random.Random, fade: float = FADE) -> dict[str, Any]:
    """A row of preference judging, with one or two turns.

    Args:
        pick: Which questions may be drawn.
        rng: The source of chance.
        fade: How much rarer the last facts of a table are.
    """
    asked = _draw(pick, rng, fade)
    outcome = rng.choice(WINNERS)
    both_right = outcome == "winner_tie" and rng.random() < 0.5
    wrong = list(asked.wrong)
    texts = {
        "winner_model_a": (asked.right, wrong[0]),
        "winner_model_b": (wrong[0], asked.right),
        "winner_tie": (asked.right, asked.right) if both_right else (wrong[0], wrong[1]),
    }[outcome]
    first, second = (_said(text, asked, rng) for text in texts)
    row: dict[str, Any] = {"prompt": [asked.question]}
    answers: list[list[str | None]] = [[first], [second]]
    if outcome != "winner_tie" and rng.random() < 0.06:
        answers[1 if outcome == "winner_model_a" else 0] = [None]
    if asked.short and rng.random() < 0.12:  # a turn before it, that both did equally well
        before = _draw(pick, rng, fade)
        if before.short:
            row["prompt"] = [before.question, asked.question]
            answers = [[_said(before.right, before, rng), *one] for one in answers]
    row |= {"response_a": answers[0], "response_b": answers[1]}
    return row | {name: int(name == outcome) for name in WINNERS}


def questions_of(row: Mapping[str, Any]) -> list[str]:
    """What a user asked in a row."""
    return list(row["prompt"])


def document(pick: Pick, rng: random.Random) -> Document:
    """A training document: a pair in one of the two orders, and the letter."""
    asked = rng.choice(list(PREFERENCE.read(pair(pick, rng), **PREFERENCE.options)))
    return answered(asked["prompt"], asked["answer"], 2 * Weight.LETTER, rng)


def answered(prompt: str, answer: str, weight: int, rng: random.Random) -> Document:
    """A prompt and its answer: mostly as chat, sometimes as plain text."""
    if rng.random() < PLAIN:
        return [
            Segment(prompt, 0), Segment(f" {answer}", weight),
            Segment(formats.END_OF_TEXT, Weight.TEXT),
        ]  # fmt: skip
    return [*chat.opening(), *chat.user(prompt, 0), *chat.assistant(answer, weight)]


PLAIN = 0.12
"""The share of documents that are plain text."""
