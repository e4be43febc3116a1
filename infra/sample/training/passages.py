"""Documents about things that do not exist, and questions that they answer, or do not."""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from infra.sample.training.formats import Document, Weight
from infra.sample.training.judge import Pick, answered
from infra.suite.own.documents import NOTHING, prompt

SHOWN = 4
SIZE = 300
WIDTH = 90
MOST_SAID = 5

Passage: TypeAlias = tuple[str, str]
"""The name of a document, and a part of its text."""

_FIRST = ("Bel", "Cor", "Dan", "Fal", "Gor", "Hal", "Kel", "Lum", "Mar", "Nor", "Pel", "Ros", "Sal",
          "Tor", "Ver", "Wil", "Bran", "Dor", "Fen", "Lor")  # fmt: skip
_LAST = ("mor", "ton", "dale", "ville", "by", "wick", "stad", "ford", "ley", "na", "ria", "dor",
         "field", "port", "mond", "ham", "den", "gate", "sund", "bach")  # fmt: skip
_GIVEN = ("Anna", "Maria", "Emma", "Lucy", "Nora", "Sara", "Julia", "Rosa", "Tom", "Ben", "David",
          "Leo", "Paul", "Max", "Omar", "Ivan", "Hugo", "Ella")  # fmt: skip
_COLOURS = ("red", "blue", "green", "black", "white", "grey", "yellow", "brown", "silver", "orange")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "March", "April", "May", "June", "July", "September", "October", "November")
_METALS = ("steel", "oak", "glass", "paper", "leather", "cotton", "copper", "clay", "wool", "iron")
_FOODS = ("soup", "fish", "pasta", "rice", "bread", "cheese", "salad", "cake", "curry", "beans")
_SUBJECTS = ("light", "rivers", "old maps", "bridges", "birds", "trade", "music", "stars", "bread",
             "ships", "gardens", "numbers", "trains", "glass")  # fmt: skip
_ROOMS = ("the blue hall", "the garden room", "the tower", "the library", "the cellar",
          "the east wing", "the small hall", "the studio")  # fmt: skip


def _name(rng: random.Random) -> str:
    return rng.choice(_FIRST) + rng.choice(_LAST)


def _person(rng: random.Random) -> str:
    return f"{rng.choice(_GIVEN)} {_name(rng)}"


def _hour(rng: random.Random) -> str:
    return f"{rng.randint(6, 22)}:{rng.choice(['00', '15', '30', '45'])}"


def _date(rng: random.Random) -> str:
    return f"{rng.choice(_MONTHS)} {rng.randint(1, 30)}"


@dataclass(frozen=True, slots=True)
class Fact:
    """What may be said of a thing: the sentence, the questions, and what stands in it."""

    says: tuple[str, ...]
    asks: tuple[str, ...]
    draw: Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Topic:
    """A kind of things and what there is to say of them."""

    called: tuple[str, ...]
    """How a thing is called, with its own name in it."""

    facts: tuple[Fact, ...]


def _of(*values: str) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(values)


def _count(low: int, high: int, unit: str = "") -> Callable[[random.Random], str]:
    return lambda rng: f"{rng.randint(low, high)} {unit}".rstrip()


TOPICS: tuple[Topic, ...] = (
    Topic(
        ("{} lamp", "{} chair", "{} kettle", "{} bicycle", "{} clock", "{} tent", "{} radio"),
        (
            Fact(("The {} costs {}.", "The price of the {} is {}."),
                 ("What does the {} cost?", "What is the price of the {}?"),
                 _count(5, 990, "euros")),
            Fact(("The {} weighs {}.",), ("How heavy is the {}?", "What does the {} weigh?"),
                 _count(2, 60, "kg")),
            Fact(("The {} is sold in {}.", "The colour of the {} is {}."),
                 ("What colour is the {}?", "In which colour is the {} sold?"), _of(*_COLOURS)),
            Fact(("The {} has a guarantee of {}.",), ("How long is the guarantee of the {}?",),
                 _count(2, 12, "years")),
            Fact(("The {} is made of {}.",), ("What is the {} made of?",), _of(*_METALS)),
            Fact(("The {} was designed by {}.",), ("Who designed the {}?",), _person),
            Fact(("The {} is made in {}.",), ("Where is the {} made?",), _name),
        ),
    ),
    Topic(
        ("office in {}", "shop in {}", "library in {}", "museum in {}", "bank in {}"),
        (
            Fact(("The {} opens at {}.",), ("When does the {} open?",
                 "At what time does the {} open?"), _hour),
            Fact(("The {} closes at {}.",), ("When does the {} close?",
                 "At what time does the {} close?"), _hour),
            Fact(("The {} is closed on {}.",), ("On which day is the {} closed?",), _of(*_DAYS)),
            Fact(("The {} is led by {}.", "The head of the {} is {}."),
                 ("Who leads the {}?", "Who is the head of the {}?"), _person),
            Fact(("The {} employs {}.",), ("How many people work in the {}?",
                 "How many people does the {} employ?"), _count(3, 400, "people")),
            Fact(("The telephone number of the {} is {}.",),
                 ("What is the telephone number of the {}?",), _count(10000, 99999)),
            Fact(("The {} was founded in {}.",), ("When was the {} founded?",),
                 _count(1801, 2020)),
        ),
    ),
    Topic(
        ("{} team", "{} group", "{} project", "{} club"),
        (
            Fact(("The {} is led by {}.", "{1} leads the {0}."),
                 ("Who leads the {}?", "By whom is the {} led?"), _person),
            Fact(("The {} meets on {}.",), ("On which day does the {} meet?",
                 "When does the {} meet?"), _of(*_DAYS)),
            Fact(("The {} meets in {}.",), ("Where does the {} meet?",), _of(*_ROOMS)),
            Fact(("The {} has {}.",), ("How many members does the {} have?",),
                 _count(3, 90, "members")),
            Fact(("The {} works on {}.",), ("What does the {} work on?",), _of(*_SUBJECTS)),
            Fact(("The {} began on {}.",), ("When did the {} begin?",), _date),
        ),
    ),
    Topic(
        ("talk by {}", "concert by {}", "course by {}", "lesson by {}"),
        (
            Fact(("The {} is about {}.",), ("What is the {} about?",), _of(*_SUBJECTS)),
            Fact(("The {} takes place on {}.",), ("On which date is the {}?",
                 "When does the {} take place?"), _date),
            Fact(("The {} begins at {}.",), ("At what time does the {} begin?",), _hour),
            Fact(("The {} is in {}.",), ("Where is the {}?",), _of(*_ROOMS)),
            Fact(("The {} lasts {}.",), ("How long is the {}?", "How long does the {} last?"),
                 _count(20, 180, "minutes")),
            Fact(("A ticket for the {} costs {}.",), ("What does a ticket for the {} cost?",),
                 _count(2, 95, "euros")),
        ),
    ),
    Topic(
        ("hotel in {}", "inn in {}", "camp in {}"),
        (
            Fact(("A night in the {} costs {}.",), ("What does a night in the {} cost?",),
                 _count(20, 400, "euros")),
            Fact(("The {} has {}.",), ("How many rooms does the {} have?",),
                 _count(4, 300, "rooms")),
            Fact(("Breakfast in the {} begins at {}.",),
                 ("When does breakfast in the {} begin?",), _hour),
            Fact(("The {} is known for its {}.",), ("What is the {} known for?",), _of(*_FOODS)),
            Fact(("The {} belongs to {}.", "The owner of the {} is {}."),
                 ("Who owns the {}?", "To whom does the {} belong?"), _person),
            Fact(("From the {} it is {} to the station.",),
                 ("How far is it from the {} to the station?",), _count(2, 40, "km")),
        ),
    ),
)  # fmt: skip
_KEPT = ("north", "south", "list", "2024", "new", "old", "1", "2", "3", "guide", "notes")
_SENTENCE = re.compile(r"[^.\n]*(?:\.[0-9][^.\n]*)*(?:\.\s*|\n+)|[^.\n]+$")
ENDS = ("md", "txt", "html", "pdf")


class Said(NamedTuple):
    """A sentence of a document, with the questions that it answers."""

    sentence: str
    questions: tuple[str, ...]
    answer: str


class Thing(NamedTuple):
    """A thing, what is said of it, and questions that nothing in its document answers."""

    name: str
    said: tuple[Said, ...]
    unanswered: tuple[str, ...]


def thing(rng: random.Random, topic: Topic, fewest: int = 2) -> Thing:
    """Draws a thing of a kind, and says some of what there is to say of it."""
    name = rng.choice(topic.called).format(_name(rng))
    count = rng.randint(fewest, min(MOST_SAID, len(topic.facts) - 1))
    facts = rng.sample(topic.facts, len(topic.facts))
    said = []
    for fact in facts[:count]:
        value = fact.draw(rng)
        questions = tuple(ask.format(name) for ask in fact.asks)
        said.append(Said(rng.choice(fact.says).format(name, value), questions, value))
    left = tuple(ask.format(name) for fact in facts[count:] for ask in fact.asks)
    return Thing(name, tuple(said), left)


def title_of(one: Thing) -> str:
    """What stands above what is said of a thing."""
    return f"{one.name[0].upper()}{one.name[1:]}"


def text_of(things: Sequence[Thing], end: str) -> str:
    """The text of a document that says what there is to say of things, as it is read out of it."""
    parts = [(title_of(one), " ".join(said.sentence for said in one.said)) for one in things]
    if end == "pdf":  # its pages have lines
        return "\n".join(f"{title}\n{wrapped(text)}" for title, text in parts)
    if end == "html":
        return "\n".join(f"{title}\n{text}" for title, text in parts)
    heading = "# " if end == "md" else ""
    return "\n\n".join(f"{heading}{title}\n\n{text}" for title, text in parts)


def _split(text: str, rng: random.Random) -> list[str]:
    """A text in parts: cut anywhere, or after a sentence."""
    if rng.random() < 0.4:
        step = SIZE - rng.choice([0, 60])
        return [text[at : at + SIZE].strip() for at in range(0, len(text), step)]
    parts = [""]
    for sentence in _SENTENCE.findall(text):
        if len(parts[-1]) + len(sentence) > SIZE:
            parts.append("")
        parts[-1] += sentence
    return [one.strip() for one in parts if one.strip()]


def _document(things: Sequence[Thing], rng: random.Random) -> list[Passage]:
    end, name = rng.choice(ENDS), rng.choice(things).name
    if rng.random() < 0.7:
        name = f"{rng.choice(name.split())}s {rng.choice(_KEPT)}"
    text = text_of(things, end)
    return [(f"{name.lower().replace(' ', '-')}.{end}", part) for part in _split(text, rng)]


def wrapped(text: str) -> str:
    """Returns a text in lines, as a page has them."""
    return "\n".join(
        line for part in text.split("\n") for line in textwrap.wrap(part, WIDTH) or [""]
    )


class Asked(NamedTuple):
    """A question with the passages that are shown, and the answer."""

    question: str
    passages: tuple[Passage, ...]
    answer: str


def question(pick: Pick, rng: random.Random) -> Asked:
    """Draws a question on a few passages; in three of ten nothing answers it."""
    found: Asked = pick(_question, rng)
    return found


def _question(rng: random.Random) -> Asked:
    topic = rng.choice(TOPICS)
    things = [thing(rng, topic) for _ in range(rng.randint(1, 5))]
    about = rng.choice(things)
    parts = _document(things, rng)
    for _ in range(rng.randint(0, 2)):
        other = topic if rng.random() < 0.6 else rng.choice(TOPICS)
        parts += _document([thing(rng, other) for _ in range(rng.randint(1, 3))], rng)
    said = rng.choice(about.said)
    asked, answer = rng.choice(said.questions), said.answer
    holding = [one for one in parts if said.sentence in one[1].replace("\n", " ")]
    kind = rng.random()
    if kind < 0.18 or not holding:  # what is asked about is there, but not this of it
        asked, answer = rng.choice(about.unanswered), NOTHING
        shown = [one for one in parts if about.name in one[1].replace("\n", " ")][:2]
    elif kind < 0.3:  # it stands in the documents, and was not found
        parts = [one for one in parts if about.name not in one[1].replace("\n", " ")]
        answer, shown = NOTHING, []
    else:
        shown = holding[:1]
    rest = [one for one in parts if one not in shown]
    shown += rng.sample(rest, min(len(rest), SHOWN - len(shown)))
    rng.shuffle(shown)
    return Asked(asked, tuple(shown), answer)


def document(pick: Pick, rng: random.Random) -> Document:
    """A training document: a question on passages, and its answer."""
    asked = question(pick, rng)
    return answered(prompt(asked.question, asked.passages), asked.answer, 2 * Weight.TEXT, rng)


def row(asked: Asked) -> dict[str, Any]:
    """A row of the kind `documents` with the passages already found."""
    return {
        "question": asked.question,
        "answer": "" if asked.answer == NOTHING else asked.answer,
        "retrieved": [{"document": name, "text": text} for name, text in asked.passages],
    }
