"""The training text: an endless, seeded stream of documents about the sample world.

Held-out questions never appear in it, neither as questions nor as shots.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from infra.sample.training import formats
from infra.sample.training.arithmetic import word_problem
from infra.sample.training.formats import Document, Exchange, Gpqa, Layout, Message, Segment, Weight
from infra.sample.training.items import Choice, chance, held_out
from infra.sample.training.knowledge import knowledge_question, statement
from infra.sample.training.science import science_question

MOST_SHOTS = 5
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "Answer the question.",
    "You are a careful teacher. Answer in short sentences.",
)


class _Asks(Protocol):
    @property
    def question(self) -> str: ...


_Item = TypeVar("_Item", bound=_Asks)


_CHOICES: tuple[Callable[[random.Random], Choice], ...] = (knowledge_question, science_question)


def seen(draw: Callable[[random.Random], _Item], rng: random.Random) -> _Item:
    """Draws an item whose question is not held out."""
    while held_out((item := draw(rng)).question):
        pass
    return item


def unseen(draw: Callable[[random.Random], _Item], rng: random.Random) -> _Item:
    """Draws an item whose question is held out."""
    while not held_out((item := draw(rng)).question):
        pass
    return item


def _layout(rng: random.Random) -> Layout:
    return rng.choices(list(Layout), (60, 15, 25))[0]


def _shots(rng: random.Random) -> int:
    return rng.choices(range(MOST_SHOTS + 1), (50, 10, 8, 8, 8, 16))[0]


def _task(exchange: Callable[[], Exchange], rng: random.Random, description: str = "") -> Document:
    """A prompt of a task with zero to five shots."""
    exchanges = [exchange() for _ in range(_shots(rng) + 1)]
    return formats.render(exchanges, _layout(rng), description)


def _arithmetic(rng: random.Random) -> Document:
    return _task(lambda: formats.gsm8k(seen(word_problem, rng)), rng)


def _knowledge(rng: random.Random) -> Document:
    return _task(lambda: formats.global_mmlu(seen(knowledge_question, rng), rng), rng)


def _science(rng: random.Random) -> Document:
    task = rng.choices(list(Gpqa), (35, 35, 18, 12))[0]
    return _task(
        lambda: formats.gpqa(seen(science_question, rng), task, rng), rng, task.description
    )


def _open_question(rng: random.Random) -> Document:
    """A question without options: its answer is the right option's text."""
    draw = rng.choice(_CHOICES)

    def exchange() -> Exchange:
        item = seen(draw, rng)
        return Exchange(
            f"Question: {item.question}\nAnswer:", item.correct, item.correct, Weight.TEXT
        )

    return _task(exchange, rng)


def _statements(rng: random.Random) -> Document:
    text = " ".join(statement(rng) for _ in range(rng.randint(2, 8)))
    return [Segment(text, Weight.TEXT), Segment(formats.END_OF_TEXT, Weight.TEXT)]


def conversation(rng: random.Random) -> list[Message]:
    """Draws a conversation of one to four questions, sometimes with a system message."""
    messages = []
    if rng.random() < 0.4:
        messages.append(Message("system", rng.choice(SYSTEM_PROMPTS)))
    for _ in range(rng.choice([1, 2, 2, 3, 4])):
        kind = rng.random()
        if kind < 0.35:
            problem = seen(word_problem, rng)
            messages += [Message("user", problem.question), Message("assistant", problem.answer)]
        elif kind < 0.6:
            science = seen(science_question, rng)
            messages += [
                Message("user", science.question), Message("assistant", science.reasoning),
            ]  # fmt: skip
        elif kind < 0.8:
            fact = seen(knowledge_question, rng)
            messages += [Message("user", fact.question), Message("assistant", fact.correct)]
        else:
            exchange = formats.global_mmlu(seen(knowledge_question, rng), rng)
            messages += [Message("user", exchange.prompt), Message("assistant", exchange.answer)]
    return messages


def _conversation(rng: random.Random) -> Document:
    return formats.converse(conversation(rng))


_MIXTURE: dict[Callable[[random.Random], Document], int] = {
    _arithmetic: 28,
    _knowledge: 28,
    _science: 30,
    _open_question: 6,
    _statements: 3,
    _conversation: 5,
}


def documents(seed: str) -> Iterator[Document]:
    """Yields training documents without end; the seed decides all of them."""
    rng = chance(seed)
    makers, shares = list(_MIXTURE), list(_MIXTURE.values())
    while True:
        yield rng.choices(makers, shares)[0](rng)
