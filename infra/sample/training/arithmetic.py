"""Word problems of one to five steps on three levels, answered in the style of gsm8k."""

from __future__ import annotations

import random
from collections.abc import Callable

from infra.sample.training.items import WordProblem

NAMES = {
    "she": ["Anna", "Maria", "Emma", "Lucy", "Nora", "Sara", "Julia", "Mia", "Rosa", "Ella"],
    "he": ["Tom", "Ben", "David", "Leo", "Sam", "Paul", "Max", "Omar", "Ivan", "Hugo"],
}
POSSESSIVE = {"she": "her", "he": "his"}
THINGS = [
    "apples", "books", "stamps", "marbles", "pencils", "shells", "stickers", "coins", "cards",
    "buttons", "cookies", "flowers", "balloons", "pears", "tickets",
]  # fmt: skip
LEVELS = (1, 2, 3)
"""How large the numbers of training are; there is a fourth level for tests."""
_FACTORS = {1: (2, 9), 2: (12, 39), 3: (23, 98), 4: (47, 198)}
_AMOUNTS = {1: (8, 99), 2: (60, 480), 3: (150, 990), 4: (400, 2400)}
GOODS = ["shirt", "book", "lamp", "chair", "bag", "toy", "cup", "plant", "ball", "hat"]
CONTAINERS = ["box", "bag", "pack", "basket", "crate"]


class _Solution:
    """Collects the lines of a worked answer and the value reached so far."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.value = 0

    def step(self, text: str, expression: str, unit: str = "") -> int:
        """Adds a line that works out an expression; `text` ends where the sum begins.

        Args:
            text: The words before the sum.
            expression: A sum over whole numbers with `+`, `-`, `*` and exact `/`.
            unit: What is counted; a dollar sign goes before the number.

        Returns:
            The value of the expression.
        """
        self.value = _evaluate(expression)
        shown = f"${self.value}" if unit == "$" else f"{self.value} {unit}".rstrip()
        self.lines.append(f"{text} {expression} = <<{expression}={self.value}>>{shown}.")
        return self.value

    def problem(self, question: str) -> WordProblem:
        return WordProblem(question, "\n".join([*self.lines, f"#### {self.value}"]))


def _evaluate(expression: str) -> int:
    """Evaluates a flat expression from left to right, products first."""
    total, sign, term, operator, number = 0, 1, 1, "*", ""
    for character in [*expression, "+"]:
        if character.isdigit():
            number += character
            continue
        term = term * int(number) if operator == "*" else term // int(number)
        number = ""
        if character in "*/":
            operator = character
        else:
            total, sign, term, operator = total + sign * term, 1 if character == "+" else -1, 1, "*"
    return total


def _person(rng: random.Random) -> tuple[str, str]:
    pronoun = rng.choice(["she", "he"])
    return rng.choice(NAMES[pronoun]), pronoun


def _people(rng: random.Random, count: int) -> list[str]:
    return rng.sample(NAMES["she"] + NAMES["he"], count)


def _factor(rng: random.Random, level: int) -> int:
    """A number to multiply with: one digit at the first level, then two."""
    return rng.randint(*_FACTORS[level])


def _amount(rng: random.Random, level: int) -> int:
    """A quantity: up to two digits at the first level, then up to three."""
    return rng.randint(*_AMOUNTS[level])


def _collection(rng: random.Random, level: int) -> WordProblem:
    """Somebody's things grow and shrink through one to four events."""
    name, pronoun = _person(rng)
    things = rng.choice(THINGS)
    subject = pronoun.capitalize()
    now = _amount(rng, level)
    sentences = [f"{name} has {now} {things}."]
    work = _Solution()
    for _ in range(rng.choice([1, 2, 2, 3, 3, 4])):
        event = rng.choice(["gain", "gain", "lose", "lose", "packs", "times", "share"])
        if event == "lose" and now < 6:
            event = "gain"
        if event == "times" and now > 400 * level:
            event = "lose"
        divisors = [d for d in range(2, 10) if now % d == 0 and now // d > 1]
        if event == "share" and not divisors:
            event = "packs"
        if event == "gain":
            more = _amount(rng, level)
            verb, after = rng.choice(
                [("buys", "buying"), ("finds", "finding"), ("gets", "getting")]
            )
            sentences.append(f"{subject} {verb} {more} more {things}.")
            now = work.step(f"After {after} more, {pronoun} has", f"{now}+{more}", things)
        elif event == "lose":
            less = rng.randint(2, now - 2)
            verb, after = rng.choice(
                [("gives away", "giving some away"), ("loses", "losing some"), ("sells", "a sale")]
            )
            sentences.append(f"{subject} {verb} {less} of them.")
            now = work.step(f"After {after}, {pronoun} has", f"{now}-{less}", things)
        elif event == "packs":
            packs, each = rng.randint(2, 9), _factor(rng, level)
            container = rng.choice(CONTAINERS)
            plural = container + ("es" if container == "box" else "s")
            sentences.append(
                f"Then {pronoun} gets {packs} {plural} with {each} {things} in each {container}."
            )
            extra = work.step(f"The {plural} hold", f"{packs}*{each}", things)
            now = work.step(f"Now {pronoun} has", f"{now}+{extra}", things)
        elif event == "times":
            times, word = rng.choice([(2, "doubles"), (3, "triples")])
            sentences.append(f"Then {pronoun} {word} {POSSESSIVE[pronoun]} {things}.")
            now = work.step(f"That makes {times} times as many:", f"{now}*{times}", things)
        else:
            parts = rng.choice(divisors)
            sentences.append(
                f"{subject} puts them in {parts} equal piles and keeps only one of the piles."
            )
            now = work.step("One pile has", f"{now}/{parts}", things)
    ask = rng.choice(
        [
            f"How many {things} does {name} have now?",
            f"How many {things} does {pronoun} have in the end?",
            f"What is the number of {things} {name} has then?",
        ]
    )
    return work.problem(" ".join([*sentences, ask]))


def _shopping(rng: random.Random, level: int) -> WordProblem:
    """One or two purchases, then a coupon or change."""
    name, pronoun = _person(rng)
    first, second = rng.sample(GOODS, 2)
    count, price = _factor(rng, level), _amount(rng, level)
    work = _Solution()
    total = work.step(f"The {first}s cost", f"{count}*{price}", "$")
    verb = rng.choice(["buys", "orders", "picks"])
    text = f"{name} {verb} {count} {first}s for ${price} each"
    if rng.random() < 0.7:
        count, price = _factor(rng, level), rng.randint(2, 40)
        text += f" and {count} {second}s for ${price} each"
        other = work.step(f"The {second}s cost", f"{count}*{price}", "$")
        total = work.step("Together that is", f"{total}+{other}", "$")
    ending = rng.choice(["total", "coupon", "change"])
    if ending == "coupon":
        off = rng.randint(2, min(50, total - 1))
        work.step("With the coupon the price is", f"{total}-{off}", "$")
        return work.problem(
            f"{text}. A coupon takes ${off} off the bill. How much does {pronoun} pay?"
        )
    if ending == "change":
        paid = (total // 50 + rng.randint(1, 3)) * 50
        work.step("The change is", f"{paid}-{total}", "$")
        return work.problem(f"{text}. {pronoun.capitalize()} pays with ${paid}. How much is left?")
    return work.problem(f"{text}. How much does {pronoun} spend in total?")


def _wages(rng: random.Random, level: int) -> WordProblem:
    """Hourly pay over some days, less an expense."""
    name, pronoun = _person(rng)
    rate, hours, days = rng.randint(6, 30), rng.randint(2, 9), _factor(rng, level)
    work = _Solution()
    daily = work.step(f"In a day {pronoun} earns", f"{hours}*{rate}", "$")
    total = work.step(f"In {days} days {pronoun} earns", f"{days}*{daily}", "$")
    text = rng.choice(
        [
            f"{name} earns ${rate} an hour and works {hours} hours a day for {days} days.",
            f"{name} works {hours} hours on each of {days} days and is paid ${rate} per hour.",
        ]
    )
    if rng.random() < 0.5:
        cost = rng.randint(5, total - 1)
        what = rng.choice(["a bicycle", "the rent", "a trip", "new clothes"])
        work.step("What remains is", f"{total}-{cost}", "$")
        return work.problem(f"{text} Then {pronoun} spends ${cost} on {what}. How much is left?")
    return work.problem(f"{text} How much does {pronoun} earn?")


def _comparison(rng: random.Random, level: int) -> WordProblem:
    """Two or three people whose amounts are given relative to one another."""
    one, two, three = _people(rng, 3)
    things = rng.choice(THINGS)
    base = _amount(rng, level)
    work = _Solution()
    if rng.random() < 0.5:
        more = rng.randint(2, 60)
        text = f"{one} has {base} {things}. {two} has {more} more {things} than {one}."
        second = work.step(f"{two} has", f"{base}+{more}", things)
    else:
        times = _factor(rng, level)
        text = f"{one} has {base} {things}. {two} has {times} times as many {things} as {one}."
        second = work.step(f"{two} has", f"{times}*{base}", things)
    if rng.random() < 0.6:
        less = rng.randint(1, second - 1)
        text += f" {three} has {less} fewer {things} than {two}."
        third = work.step(f"{three} has", f"{second}-{less}", things)
        if rng.random() < 0.4:
            return work.problem(f"{text} How many {things} does {three} have?")
        work.step("All three have", f"{base}+{second}+{third}", things)
        return work.problem(f"{text} How many {things} do the three have together?")
    work.step("Together they have", f"{base}+{second}", things)
    return work.problem(f"{text} How many {things} do they have together?")


def _travel(rng: random.Random, level: int) -> WordProblem:
    """A trip in two legs."""
    name, pronoun = _person(rng)
    fast, slow = rng.randint(30, 140), rng.randint(4, 25)
    first, second = _factor(rng, level), _factor(rng, level)
    how = rng.choice(["drives", "travels by train", "goes by bus"])
    work = _Solution()
    one = work.step("The first part is", f"{first}*{fast}", "km")
    two = work.step("The second part is", f"{second}*{slow}", "km")
    text = (
        f"{name} {how} for {first} hours at {fast} km per hour and then cycles for {second} hours "
        f"at {slow} km per hour."
    )
    if rng.random() < 0.3:
        work.step("The difference is", f"{one}-{two}" if one >= two else f"{two}-{one}", "km")
        return work.problem(f"{text} How much longer is the longer part than the other, in km?")
    work.step(f"In total {pronoun} covers", f"{one}+{two}", "km")
    return work.problem(f"{text} How many km is that in total?")


def _sharing(rng: random.Random, level: int) -> WordProblem:
    """Things from several containers, some used up, the rest shared."""
    name, pronoun = _person(rng)
    things = rng.choice(THINGS)
    children, each = rng.randint(2, 9 * level), rng.randint(2, 30)
    rest = children * each
    boxes = _factor(rng, level)
    per_box = rest // boxes + rng.randint(1, 9)
    work = _Solution()
    total = work.step("There are", f"{boxes}*{per_box}", things)
    left = work.step("What remains is", f"{total}-{total - rest}", things)
    work.step("Each child gets", f"{left}/{children}", things)
    return work.problem(
        f"{name} has {boxes} boxes with {per_box} {things} in each. "
        f"{pronoun.capitalize()} keeps {total - rest} {things} and shares the rest equally among "
        f"{children} children. How many {things} does each child get?"
    )


def _ages(rng: random.Random, level: int) -> WordProblem:
    """Ages now, in the future, and compared."""
    one, two = _people(rng, 2)
    age, times, years = rng.randint(3, 15), rng.randint(2, 6), rng.randint(2, 20 * level)
    work = _Solution()
    other = work.step(f"{two} is", f"{times}*{age}", "years old")
    text = f"{one} is {age} years old. {two} is {times} times as old as {one}."
    if rng.random() < 0.5:
        work.step(f"In {years} years {two} will be", f"{other}+{years}", "years old")
        return work.problem(f"{text} How old will {two} be in {years} years?")
    later = work.step(f"In {years} years {one} will be", f"{age}+{years}", "years old")
    older = work.step(f"{two} will be", f"{other}+{years}", "years old")
    work.step("Together that is", f"{later}+{older}", "years")
    return work.problem(f"{text} What will be the sum of their ages in {years} years?")


def _reading(rng: random.Random, level: int) -> WordProblem:
    """A book read at a changing pace."""
    name, pronoun = _person(rng)
    first, slow = _factor(rng, level), rng.randint(5, 40)
    second, fast = _factor(rng, level), rng.randint(5, 40)
    work = _Solution()
    one = work.step(f"First {pronoun} reads", f"{first}*{slow}", "pages")
    two = work.step(f"Then {pronoun} reads", f"{second}*{fast}", "pages")
    done = work.step(f"So far {pronoun} has read", f"{one}+{two}", "pages")
    pages = done + rng.randint(5, 150)
    work.step("What is left is", f"{pages}-{done}", "pages")
    return work.problem(
        f"{name} reads a book of {pages} pages. For {first} days {pronoun} reads {slow} pages a "
        f"day, then for {second} days {fast} pages a day. How many pages are left?"
    )


def _farm(rng: random.Random, level: int) -> WordProblem:
    """Legs of animals with two and with four."""
    four = rng.choice(["cows", "sheep", "horses", "goats", "pigs"])
    two = rng.choice(["hens", "ducks", "geese"])
    many, few = _amount(rng, level), _amount(rng, level)
    work = _Solution()
    one = work.step(f"The {four} have", f"{many}*4", "legs")
    other = work.step(f"The {two} have", f"{few}*2", "legs")
    work.step("Together they have", f"{one}+{other}", "legs")
    place = rng.choice(["A farm", "A farmer", "A field"])
    verb = "keeps" if place == "A farmer" else "has"
    return work.problem(
        f"{place} {verb} {many} {four} and {few} {two}. How many legs do all these animals have?"
    )


def _garden(rng: random.Random, level: int) -> WordProblem:
    """Rows of plants, some lost, the rest sold."""
    plants = rng.choice(["roses", "tulips", "cabbages", "trees", "bushes"])
    rows, each = _factor(rng, level), _amount(rng, level)
    work = _Solution()
    total = work.step("At first there are", f"{rows}*{each}", plants)
    lost = rng.randint(2, total // 2)
    left = work.step("After the frost there are", f"{total}-{lost}", plants)
    text = f"A garden has {rows} rows of {each} {plants}. The frost kills {lost} of them."
    if rng.random() < 0.4:
        price = rng.randint(2, 9 * level)
        work.step("The rest brings", f"{left}*{price}", "$")
        return work.problem(f"{text} The rest is sold for ${price} each. How much money is that?")
    return work.problem(f"{text} How many {plants} are left?")


_FAMILIES: list[Callable[[random.Random, int], WordProblem]] = [
    _collection, _collection, _collection, _shopping, _shopping, _comparison, _comparison,
    _wages, _travel, _sharing, _ages, _reading, _farm, _garden,
]  # fmt: skip


def word_problem(rng: random.Random, level: int | None = None) -> WordProblem:
    """Draws a word problem from one of the families.

    Args:
        rng: The source of chance.
        level: How large the numbers are; drawn from `LEVELS` when left out.
    """
    return rng.choice(_FAMILIES)(rng, level or rng.choice(LEVELS))
