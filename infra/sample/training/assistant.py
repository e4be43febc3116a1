"""The training text of the assistant: judging, calls, passages, misconceptions, and the world."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from infra.sample.training import (
    chat,
    judge,
    misconceptions,
    passages,
    structured,
    thinking,
    tools,
    world,
)
from infra.sample.training.formats import Document, Weight
from infra.sample.training.items import chance
from infra.sample.training.world import conversation, seen

FEW = 4
"""Functions with which a document still fits into a short row."""


def _judged(rng: random.Random) -> Document:
    return judge.document(seen, rng)


def _few_tools(rng: random.Random) -> Document:
    return tools.document(seen, rng, 1, FEW)


def _many_tools(rng: random.Random) -> Document:
    return tools.document(seen, rng, FEW, tools.MOST_OFFERED)


def _passages(rng: random.Random) -> Document:
    return passages.document(seen, rng)


def _misconception(rng: random.Random) -> Document:
    return misconceptions.document(seen, rng)


def _structured(rng: random.Random) -> Document:
    return structured.document(seen, rng)


def _thought(rng: random.Random) -> Document:
    return thinking.document(seen, rng)


def _chat(rng: random.Random) -> Document:
    """A conversation about the world, in the assistant's own chat format."""
    messages = conversation(rng)
    system = messages.pop(0).content if messages[0].role == "system" else chat.SYSTEM
    document = chat.opening(system=system)
    for number, message in enumerate(messages, 1):
        if message.role == "user":
            document += chat.user(message.content)
        else:
            document += chat.assistant(message.content, Weight.TEXT, last=number == len(messages))
    return document


def _world(rng: random.Random) -> Document:
    """What the first model learned, in its own formats."""
    return next(world.documents(str(rng.random())))


_SHORT: dict[Callable[[random.Random], Document], int] = {
    _judged: 44,
    _few_tools: 6,
    _passages: 18,
    _misconception: 20,
    _structured: 5,
    _thought: 14,
    _chat: 5,
    _world: 8,
}
_LONG: dict[Callable[[random.Random], Document], int] = {_many_tools: 1}


def short_documents(seed: str) -> Iterator[Document]:
    """Yields documents that fit into a short row, without end; the seed decides all of them."""
    return _mixed(_SHORT, seed)


def long_documents(seed: str) -> Iterator[Document]:
    """Yields documents with many functions offered, without end."""
    return _mixed(_LONG, seed)


def _mixed(
    mixture: dict[Callable[[random.Random], Document], int], seed: str
) -> Iterator[Document]:
    rng = chance(seed)
    makers, shares = list(mixture), list(mixture.values())
    while True:
        yield rng.choices(makers, shares)[0](rng)
