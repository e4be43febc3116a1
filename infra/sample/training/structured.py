"""Facts about people and things that are to be written as JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.sample.training.formats import Document, Weight
from infra.sample.training.judge import Pick, answered

_NAMES = ("Anna", "Maria", "Emma", "Lucy", "Nora", "Sara", "Julia", "Tom", "Ben", "David", "Leo",
          "Paul", "Max", "Omar", "Ivan", "Hugo")  # fmt: skip
_CITIES = ("Rome", "Oslo", "Paris", "Berlin", "Madrid", "Lisbon", "Vienna", "Prague", "Athens",
           "Dublin", "Cairo", "Tokyo", "Lima")  # fmt: skip
_THINGS = ("lamp", "chair", "clock", "bag", "table", "cup", "book", "tent")
_COLOURS = ("red", "blue", "green", "black", "white", "yellow")
_TYPES: dict[type, str] = {str: "string", int: "integer", bool: "boolean"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that wants JSON, and what is right."""

    question: str
    facts: dict[str, str | int | bool]

    @property
    def schema(self) -> dict[str, Any]:
        """What an answer has to satisfy: these keys, each of its type, and no other."""
        return {
            "type": "object",
            "properties": {
                name: {"type": _TYPES[type(value)]} for name, value in self.facts.items()
            },
            "required": list(self.facts),
            "additionalProperties": False,
        }


def _person(rng: random.Random) -> tuple[str, dict[str, str | int | bool]]:
    name, age, city = rng.choice(_NAMES), rng.randint(5, 90), rng.choice(_CITIES)
    text = rng.choice(
        [f"{name} is {age} years old and lives in {city}.",
         f"{name} lives in {city} and is {age} years old.",
         f"In {city} lives {name}, aged {age}."]
    )  # fmt: skip
    return text, {"name": name, "age": age, "city": city}


def _goods(rng: random.Random) -> tuple[str, dict[str, str | int | bool]]:
    thing, colour, price = rng.choice(_THINGS), rng.choice(_COLOURS), rng.randint(2, 400)
    there = rng.random() < 0.5
    text = f"The {colour} {thing} costs {price} euros and is {'' if there else 'not '}on sale."
    return text, {"thing": thing, "colour": colour, "price": price, "on_sale": there}


def _trip(rng: random.Random) -> tuple[str, dict[str, str | int | bool]]:
    one, other = rng.sample(_CITIES, 2)
    hours, price = rng.randint(2, 30), rng.randint(20, 900)
    text = rng.choice(
        [f"The trip from {one} to {other} takes {hours} hours and costs {price} euros.",
         f"For {price} euros you get from {one} to {other} in {hours} hours."]
    )  # fmt: skip
    return text, {"origin": one, "destination": other, "hours": hours, "price": price}


_KINDS: tuple[Callable[[random.Random], tuple[str, dict[str, str | int | bool]]], ...] = (
    _person, _goods, _trip,
)  # fmt: skip


def question(pick: Pick, rng: random.Random) -> Asked:
    """Draws a question; the keys are asked for in random order."""
    found: Asked = pick(_question, rng)
    return found


def _question(rng: random.Random) -> Asked:
    text, facts = rng.choice(_KINDS)(rng)
    names = rng.sample(list(facts), rng.randint(2, len(facts)))
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    stem = rng.choice(["Write {} as JSON: {}", "Give {} as one JSON object. {}"])
    return Asked(stem.format(listed, text), {name: facts[name] for name in names})


def document(pick: Pick, rng: random.Random) -> Document:
    """A training document."""
    asked = question(pick, rng)
    return answered(asked.question, json.dumps(asked.facts), 2 * Weight.TEXT, rng)


def row(asked: Asked) -> dict[str, Any]:
    """A row of the kind `schema`."""
    return {
        "question": asked.question, "schema": asked.schema, "answer": json.dumps(asked.facts),
    }  # fmt: skip
