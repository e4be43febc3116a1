"""Multiple-choice and open questions about the tables of facts in `facts.toml`."""

from __future__ import annotations

import itertools
import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from infra.sample.training.items import Choice

CATEGORIES = ("Business", "Humanities", "Medical", "Other", "STEM", "Social Sciences")
_CULTURAL = {"capital", "continent", "language", "currency", "dish", "author", "god", "event_year"}
FADE = 3.0
"""How fast facts grow rarer down their table in the training text.

The n-th fact comes up in proportion to (n + 2) ** -FADE, so that the last ones are hardly known.
"""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table of facts with the ways to ask for them.

    Attributes:
        name: What the table holds.
        subject: An MMLU subject.
        category: One of `CATEGORIES`.
        pairs: Keys and values, the best known first.
        ask: Question stems with `{key}`.
        invert: Question stems with `{value}`.
        most: A stem with `{items}` that ranks keys by their number, or nothing.
        state: The plain statement with `{key}` and `{value}`, or nothing.
    """

    name: str
    subject: str
    category: str
    pairs: tuple[tuple[str, str], ...]
    ask: tuple[str, ...]
    invert: tuple[str, ...] = ()
    most: str = ""
    state: str = ""

    def draw(self, rng: random.Random, fade: float) -> tuple[str, str]:
        """Draws a fact; those at the top of the table are more likely."""
        return rng.choices(self.pairs, cum_weights=_shares(len(self.pairs), fade))[0]

    def choice(self, rng: random.Random, fade: float) -> Choice:
        """Draws a multiple-choice question."""
        if self.most and rng.random() < 0.15:
            return self._ranking(rng)
        key, value = self.draw(rng, fade)
        stem = rng.choice(self.ask + self.invert)
        if stem in self.invert:
            others = [other for other, its_value in self.pairs if its_value != value]
            return self._choice(stem.format(value=value), key, others, rng)
        others = sorted({other for _, other in self.pairs} - {value})
        return self._choice(stem.format(key=key), value, others, rng)

    def _ranking(self, rng: random.Random) -> Choice:
        numbers = dict(self.pairs)
        keys = rng.sample(list(numbers), 4)
        while len({numbers[key] for key in keys}) < 4:
            keys = rng.sample(list(numbers), 4)
        top = max(keys, key=lambda key: int(numbers[key]))
        items = f"{', '.join(keys[:3])} and {keys[3]}"
        return self._choice(
            self.most.format(items=items), top, [key for key in keys if key != top], rng
        )

    def _choice(
        self, question: str, correct: str, others: Sequence[str], rng: random.Random
    ) -> Choice:
        first, second, third = rng.sample(list(others), 3)
        return Choice(
            question=_sentence(question),
            correct=correct,
            wrong=(first, second, third),
            category=self.category,
            subject=self.subject,
            cultural=self.name in _CULTURAL,
        )


@cache
def _shares(count: int, fade: float) -> list[float]:
    """The cumulated shares of so many facts."""
    return list(itertools.accumulate((rank + 3) ** -fade for rank in range(count)))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _parse(text: str) -> tuple[tuple[str, str], ...]:
    entries = [entry.strip().split("=") for entry in " ".join(text.split()).split(";")]
    return tuple((key, value) for key, value in entries)


def _chain(entry: dict[str, Any], tables: dict[str, Relation]) -> Relation:
    """Joins two tables; with `turn` the first one is read from value to key."""
    first, second = tables[entry["first"]].pairs, dict(tables[entry["second"]].pairs)
    links = [(value, key) for key, value in first] if entry["turn"] else list(first)
    return Relation(
        name=f"{entry['first']}_{entry['second']}",
        subject=entry["subject"],
        category=entry["category"],
        pairs=tuple((key, second[middle]) for key, middle in links if middle in second),
        ask=tuple(entry["ask"]),
    )


def _load() -> dict[str, Relation]:
    raw = tomllib.loads(Path(__file__).with_name("facts.toml").read_text(encoding="utf-8"))
    relations = {
        entry["name"]: Relation(
            name=entry["name"],
            subject=entry["subject"],
            category=entry["category"],
            pairs=_parse(entry["pairs"]),
            ask=tuple(entry["ask"]),
            invert=tuple(entry.get("invert", ())),
            most=entry.get("most", ""),
            state=entry["state"],
        )
        for entry in raw["relation"]
    }
    chains = [_chain(entry, relations) for entry in raw["chain"]]
    return relations | {chain.name: chain for chain in chains}


RELATIONS = _load()
_BY_CATEGORY = {
    category: [relation for relation in RELATIONS.values() if relation.category == category]
    for category in CATEGORIES
}
_SHARES = {
    category: list(itertools.accumulate(len(relation.pairs) for relation in relations))
    for category, relations in _BY_CATEGORY.items()
}
_STATED = [relation for relation in RELATIONS.values() if relation.state]
_STATED_SHARES = list(itertools.accumulate(len(relation.pairs) for relation in _STATED))


def _sum(rng: random.Random) -> Choice:
    """A bare sum, for STEM."""
    if rng.random() < 0.5:
        a, b = rng.randint(2, 39), rng.randint(2, 29)
        answer, text = a * b, f"{a} times {b}"
    else:
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        answer, text = a + b, f"{a} plus {b}"
    stem = rng.choice(["What is {}?", "What do you get for {}?", "Work out {}."])
    return _with_numbers(stem.format(text), answer, "STEM", "elementary_mathematics", rng)


def _trade(rng: random.Random) -> Choice:
    """A sum about money, for Business."""
    firm = rng.choice(["A firm", "A shop", "A company", "A bakery", "A start-up", "A supplier"])
    kind = rng.choice(["profit", "margin", "interest"])
    if kind == "profit":
        cost, profit = rng.randint(20, 90), rng.randint(5, 60)
        question = f"{firm} has revenue of {cost + profit} and costs of {cost}. What is the profit?"
        answer = profit
    elif kind == "margin":
        count, gain = rng.randint(2, 40), rng.randint(2, 25)
        question = (
            f"{firm} sells {count} units with a margin of {gain} each. What is the total margin?"
        )
        answer = count * gain
    else:
        rate, hundreds = rng.randint(2, 9), rng.randint(1, 12)
        question = (
            f"{firm} pays {rate} percent a year on a loan of {hundreds}00. "
            "What is a year's interest?"
        )
        answer = rate * hundreds
    return _with_numbers(question, answer, "Business", "business_mathematics", rng)


def _with_numbers(
    question: str, answer: int, category: str, subject: str, rng: random.Random
) -> Choice:
    near = [answer + shift for shift in (-10, -3, -2, -1, 1, 2, 3, 10) if answer + shift > 0]
    first, second, third = (str(number) for number in rng.sample([*near, 2 * answer + 4], 3))
    return Choice(question, str(answer), (first, second, third), category, subject)


def knowledge_question(
    rng: random.Random, category: str | None = None, fade: float = FADE
) -> Choice:
    """Draws a multiple-choice question.

    Args:
        rng: The source of chance.
        category: One of `CATEGORIES`; drawn when left out.
        fade: How much rarer the lesser known facts are; with 0 all are alike.
    """
    category = category or rng.choice(CATEGORIES)
    if category == "STEM" and rng.random() < 0.15:
        return _sum(rng)
    if category == "Business" and rng.random() < 0.2:
        return _trade(rng)
    relation = rng.choices(_BY_CATEGORY[category], cum_weights=_SHARES[category])[0]
    return relation.choice(rng, fade)


def statement(rng: random.Random) -> str:
    """Draws a plain statement of a fact."""
    relation = rng.choices(_STATED, cum_weights=_STATED_SHARES)[0]
    key, value = relation.draw(rng, FADE)
    return _sentence(relation.state.format(key=key, value=value))
