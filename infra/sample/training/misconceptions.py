"""Questions on school mathematics, and the misconceptions that wrong answers to them show.

Every misconception is a rule that gives a wrong answer; what is drawn has answers that all differ.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from infra.sample.training.formats import Document, Weight
from infra.sample.training.judge import Pick, answered

BEGINNING = "A pupil gave a wrong answer. Name the misconception behind it in one sentence."
SHOWN = 3
"""Wrong answers of a question."""

Numbers = tuple[int, ...]
Rule = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Construct:
    """What a question tests, how it is asked, and what goes wrong."""

    name: str
    subject: str
    asks: tuple[str, ...]
    draw: Callable[[random.Random], Numbers]
    right: Rule
    wrong: dict[str, Rule]
    unit: str = "{}"


class Question(NamedTuple):
    """A question, its right answer, and wrong ones → the misconception that each shows."""

    construct: Construct
    question: str
    right: str
    wrong: dict[str, str]


def _digits(number: int) -> list[int]:
    return [int(one) for one in str(number)]


def _two(low: int, high: int) -> Callable[[random.Random], Numbers]:
    return lambda rng: (rng.randint(low, high), rng.randint(low, high))


def _within(*ranges: tuple[int, int]) -> Callable[[random.Random], Numbers]:
    return lambda rng: tuple(rng.randint(low, high) for low, high in ranges)


def _carrying(rng: random.Random) -> Numbers:
    ones, other = rng.randint(2, 9), rng.randint(2, 9)
    if ones + other < 10:
        ones, other = 10 - ones, 10 - other
    tens, more = rng.randint(1, 5), rng.randint(1, 3)
    return 10 * tens + ones % 10, 10 * more + other % 10


def _borrowing(rng: random.Random) -> Numbers:
    low = rng.randint(0, 7)
    return 10 * rng.randint(5, 9) + low, 10 * rng.randint(1, 4) + rng.randint(low + 1, 9)


def _divided(rng: random.Random) -> Numbers:
    by, times = rng.randint(3, 9), rng.randint(4, 12)
    return by * times, by


def _parted(rng: random.Random) -> Numbers:
    below = rng.randint(3, 8)
    above = rng.randint(2, below - 1)
    return above, below, below * rng.randint(3, 12)


def _fractions(rng: random.Random) -> Numbers:
    return (rng.randint(1, 5), rng.randint(2, 9), rng.randint(1, 5), rng.randint(2, 9))


def _part(rng: random.Random) -> Numbers:
    below = rng.randint(5, 15)
    return rng.randint(1, below - 2), below


def _percent(rng: random.Random) -> Numbers:
    return rng.choice([5, 10, 20, 25, 50, 75]), 20 * rng.randint(2, 30)


def _solved(rng: random.Random) -> Numbers:
    factor = rng.randint(2, 9)
    return factor, factor * rng.randint(3, 12)


def _three(rng: random.Random) -> Numbers:
    one, other = rng.randint(2, 30), rng.randint(2, 30)
    return one, other, 3 * rng.randint(12, 30) - one - other


def _five(rng: random.Random) -> Numbers:
    return tuple(rng.sample(range(2, 60), 5))


def _tenths(rng: random.Random) -> Numbers:
    return rng.randint(1, 8), rng.randint(5, 9), rng.randint(1, 8), rng.randint(5, 9)


def _placed(rng: random.Random) -> Numbers:
    digits = rng.sample(range(1, 10), 4)
    return int("".join(map(str, digits))), rng.choice([1, 2])


def _shared(rng: random.Random) -> Numbers:
    one, other = rng.sample(range(2, 8), 2)
    return one, other, (one + other) * rng.randint(2, 9)


def _minutes(rng: random.Random) -> Numbers:
    hour = rng.randint(1, 10)
    return hour, 5 * rng.randint(7, 11), hour + rng.randint(1, 2), 5 * rng.randint(1, 6)


def _middle(*numbers: int) -> int:
    return sorted(numbers)[len(numbers) // 2]


def _simple(above: int, below: int) -> str:
    return f"{above}/{below}"


def _decimal(whole: int, tenths: int) -> str:
    return f"{whole + tenths // 10}.{tenths % 10}"


CONSTRUCTS: tuple[Construct, ...] = (
    Construct(
        "Add two-digit numbers with carrying", "Whole numbers",
        ("What is {} + {}?", "Work out {} + {}.", "Add {} and {}."), _carrying,
        lambda a, b: a + b,
        {
            "Forgets to carry the ten": lambda a, b: a + b - 10,
            "Writes the sum of each column side by side":
                lambda a, b: f"{a // 10 + b // 10}{a % 10 + b % 10}",
            "Subtracts when asked to add": lambda a, b: abs(a - b),
            "Carries the ten twice": lambda a, b: a + b + 10,
        },
    ),
    Construct(
        "Subtract two-digit numbers with borrowing", "Whole numbers",
        ("What is {} - {}?", "Work out {} - {}.", "Subtract {1} from {0}."), _borrowing,
        lambda a, b: a - b,
        {
            "Takes the smaller digit from the larger in each column":
                lambda a, b: 10 * abs(a // 10 - b // 10) + abs(a % 10 - b % 10),
            "Forgets to reduce the tens after borrowing": lambda a, b: a - b + 10,
            "Adds when asked to subtract": lambda a, b: a + b,
            "Includes the starting number when counting back": lambda a, b: a - b + 1,
            "Subtracts only the tens": lambda a, b: a - b // 10 * 10,
        },
    ),
    Construct(
        "Multiply a two-digit by a one-digit number", "Whole numbers",
        ("What is {} x {}?", "Work out {} x {}.", "Multiply {} by {}."),
        _within((12, 49), (3, 9)), lambda a, b: a * b,
        {
            "Multiplies only the tens digit": lambda a, b: a // 10 * 10 * b + a % 10,
            "Multiplies only the ones digit": lambda a, b: a // 10 * 10 + a % 10 * b,
            "Adds when asked to multiply": lambda a, b: a + b,
            "Counts one group too few when multiplying": lambda a, b: a * (b - 1),
            "Counts one group too many when multiplying": lambda a, b: a * (b + 1),
        },
    ),
    Construct(
        "Divide by a one-digit number", "Whole numbers",
        ("What is {} divided by {}?", "Work out {} : {}.", "Share {} equally among {}."), _divided,
        lambda a, b: a // b,
        {
            "Subtracts when asked to divide": lambda a, b: a - b,
            "Multiplies when asked to divide": lambda a, b: a * b,
            "Divides the smaller number by the larger": lambda a, b: _simple(b, a),
            "Counts one group too many when dividing": lambda a, b: a // b + 1,
            "Adds when asked to divide": lambda a, b: a + b,
        },
    ),
    Construct(
        "Give the value of a digit", "Place value",
        ("What is the value of the digit {digit} in {0}?",
         "In {0}, what does the {digit} stand for?"),
        _placed, lambda n, p: _digits(n)[p] * 10 ** (3 - p),
        {
            "Gives the digit instead of its value": lambda n, p: _digits(n)[p],
            "Takes the place one too high": lambda n, p: _digits(n)[p] * 10 ** (4 - p),
            "Takes the place one too low": lambda n, p: _digits(n)[p] * 10 ** (2 - p),
            "Reads all the digits from there on": lambda n, p: n % 10 ** (4 - p),
        },
    ),
    Construct(
        "Round to the nearest ten", "Place value",
        ("Round {} to the nearest ten.", "What is {} to the nearest 10?"),
        lambda rng: (100 * rng.randint(1, 9) + 10 * rng.randint(1, 8) + rng.randint(5, 9),),
        lambda n: n // 10 * 10 + 10,
        {
            "Always rounds down": lambda n: n // 10 * 10,
            "Rounds to the nearest hundred instead of ten": lambda n: (n + 50) // 100 * 100,
            "Cuts off the last digit when rounding": lambda n: n // 10,
            "Adds ten instead of rounding": lambda n: n + 10,
        },
    ),
    Construct(
        "Round to the nearest hundred", "Place value",
        ("Round {} to the nearest hundred.", "What is {} to the nearest 100?"),
        lambda rng: (1000 * rng.randint(1, 9) + 100 * rng.randint(1, 8) + rng.randint(11, 44),),
        lambda n: n // 100 * 100,
        {
            "Always rounds up": lambda n: n // 100 * 100 + 100,
            "Rounds to the nearest thousand instead of hundred":
                lambda n: (n + 500) // 1000 * 1000,
            "Rounds to the nearest ten instead of hundred": lambda n: (n + 5) // 10 * 10,
            "Writes only the hundreds digit": lambda n: n // 100 % 10 * 100,
        },
    ),
    Construct(
        "Multiply by ten and a hundred", "Place value",
        ("What is {} x 100?", "Multiply {} by 100.", "Work out 100 x {}."), _within((12, 980)),
        lambda n: 100 * n,
        {
            "Adds one zero too few": lambda n: 10 * n,
            "Adds one zero too many": lambda n: 1000 * n,
            "Puts the zeros in front": lambda n: f"00{n}",
            "Adds one hundred instead of multiplying": lambda n: n + 100,
        },
    ),
    Construct(
        "Add decimals", "Decimals",
        ("What is {0}.{1} + {2}.{3}?", "Work out {0}.{1} + {2}.{3}.", "Add {0}.{1} and {2}.{3}."),
        _tenths, lambda a, b, c, d: _decimal(a + c, b + d),
        {
            "Adds the digits on each side of the point": lambda a, b, c, d: f"{a + c}.{b + d}",
            "Ignores the decimal point": lambda a, b, c, d: 10 * (a + c) + b + d,
            "Does not carry over the decimal point": lambda a, b, c, d: f"{a + c}.{(b + d) % 10}",
            "Adds only the whole parts": lambda a, b, c, d: a + c,
        },
    ),
    Construct(
        "Multiply decimals by ten", "Decimals",
        ("What is {}.{} x 10?", "Multiply {}.{} by 10.", "Work out 10 x {}.{}."),
        _within((2, 98), (1, 9)), lambda a, b: 10 * a + b,
        {
            "Adds a zero to the end of a decimal": lambda a, b: f"{a}.{b}0",
            "Moves the decimal point the wrong way": lambda a, b: f"{a // 10}.{a % 10}{b}",
            "Multiplies only the whole part": lambda a, b: f"{10 * a}.{b}",
            "Moves the decimal point two places": lambda a, b: 100 * a + 10 * b,
        },
    ),
    Construct(
        "Add fractions", "Fractions",
        ("What is {0}/{1} + {2}/{3}?", "Work out {0}/{1} + {2}/{3}.", "Add {0}/{1} and {2}/{3}."),
        _fractions, lambda a, b, c, d: _simple(a * d + c * b, b * d),
        {
            "Adds the numerators and adds the denominators":
                lambda a, b, c, d: _simple(a + c, b + d),
            "Adds the numerators but multiplies the denominators":
                lambda a, b, c, d: _simple(a + c, b * d),
            "Keeps the larger denominator without converting":
                lambda a, b, c, d: _simple(a + c, max(b, d)),
            "Multiplies fractions when asked to add": lambda a, b, c, d: _simple(a * c, b * d),
        },
    ),
    Construct(
        "Multiply fractions", "Fractions",
        ("What is {0}/{1} x {2}/{3}?", "Work out {0}/{1} x {2}/{3}.",
         "Multiply {0}/{1} by {2}/{3}."),
        _fractions, lambda a, b, c, d: _simple(a * c, b * d),
        {
            "Adds the denominators when multiplying": lambda a, b, c, d: _simple(a * c, b + d),
            "Adds the numerators when multiplying": lambda a, b, c, d: _simple(a + c, b * d),
            "Turns the second fraction over when multiplying":
                lambda a, b, c, d: _simple(a * d, b * c),
            "Adds fractions when asked to multiply":
                lambda a, b, c, d: _simple(a * d + c * b, b * d),
        },
    ),
    Construct(
        "Subtract from one whole", "Fractions",
        ("A cake has {1} pieces. {0} are eaten. What fraction is left?",
         "{0} of {1} tiles are red. What fraction is not red?"),
        _part, lambda a, n: _simple(n - a, n),
        {
            "Gives the part that is taken away": _simple,
            "Compares the parts with each other": lambda a, n: _simple(a, n - a),
            "Turns the fraction over": lambda a, n: _simple(n, n - a),
            "Gives a number instead of a fraction": lambda a, n: n - a,
        },
    ),
    Construct(
        "Find a fraction of an amount", "Fractions",
        ("What is {0}/{1} of {2}?", "Find {0}/{1} of {2}.", "Work out {0}/{1} of {2}."), _parted,
        lambda a, b, n: n // b * a,
        {
            "Finds only one part": lambda a, b, n: n // b,
            "Multiplies by the numerator without dividing": lambda a, b, n: n * a,
            "Gives the rest instead of the fraction": lambda a, b, n: n - n // b * a,
            "Subtracts the denominator from the amount": lambda a, b, n: n - b,
        },
    ),
    Construct(
        "Use the order of operations", "Order of operations",
        ("What is {} + {} x {}?", "Work out {} + {} x {}."), _within((2, 20), (2, 9), (2, 9)),
        lambda a, b, c: a + b * c,
        {
            "Works from left to right": lambda a, b, c: (a + b) * c,
            "Adds all the numbers": lambda a, b, c: a + b + c,
            "Multiplies all the numbers": lambda a, b, c: a * b * c,
            "Swaps the two operations": lambda a, b, c: a * b + c,
        },
    ),
    Construct(
        "Work out brackets", "Order of operations",
        ("What is {} x ({} + {})?", "Work out {} x ({} + {})."),
        _within((3, 9), (2, 12), (2, 12)), lambda a, b, c: a * (b + c),
        {
            "Multiplies only the first number in the bracket": lambda a, b, c: a * b + c,
            "Multiplies only the second number in the bracket": lambda a, b, c: b + a * c,
            "Adds the factor to the bracket": lambda a, b, c: a + b + c,
            "Leaves out the number before the bracket": lambda _, b, c: b + c,
        },
    ),
    Construct(
        "Calculate powers", "Powers",
        ("What is {} to the power of {}?", "Work out {}^{}.", "Calculate {}^{}."),
        _within((2, 9), (2, 4)), lambda a, b: a**b,
        {
            "Multiplies the base by the exponent": lambda a, b: a * b,
            "Adds the base and the exponent": lambda a, b: a + b,
            "Swaps the base and the exponent": lambda a, b: b**a,
            "Writes the exponent behind the base": lambda a, b: f"{a}{b}",
        },
    ),
    Construct(
        "Square a number", "Powers",
        ("What is the square of {}?", "Work out {} squared."), _within((3, 30)), lambda a: a * a,
        {
            "Doubles instead of squaring": lambda a: 2 * a,
            "Halves instead of squaring": lambda a: f"{a // 2}" if a % 2 == 0 else f"{a // 2}.5",
            "Adds two instead of squaring": lambda a: a + 2,
            "Multiplies by four instead of squaring": lambda a: 4 * a,
        },
    ),
    Construct(
        "Add negative numbers", "Negative numbers",
        ("What is -{} + {}?", "Work out -{} + {}."), _within((12, 60), (2, 11)),
        lambda a, b: b - a,
        {
            "Ignores the minus sign": lambda a, b: a + b,
            "Adds the sizes and keeps the minus sign": lambda a, b: -(a + b),
            "Drops the minus sign of the answer": lambda a, b: a - b,
            "Gives the first number unchanged": lambda a, _: -a,
        },
    ),
    Construct(
        "Multiply negative numbers", "Negative numbers",
        ("What is -{} x -{}?", "Work out -{} x -{}.", "Multiply -{} by -{}."),
        _within((2, 15), (2, 12)), lambda a, b: a * b,
        {
            "Thinks two negatives multiply to a negative": lambda a, b: -a * b,
            "Adds negative numbers when asked to multiply": lambda a, b: -(a + b),
            "Adds the sizes of negative numbers": lambda a, b: a + b,
            "Squares the first negative number": lambda a, _: a * a,
        },
    ),
    Construct(
        "Find a percentage of an amount", "Percentages",
        ("What is {}% of {}?", "Find {}% of {}.", "Work out {}% of {}."), _percent,
        lambda p, n: p * n // 100,
        {
            "Subtracts the percentage as a number": lambda p, n: n - p,
            "Gives the percentage as the amount": lambda p, _: p,
            "Gives what remains after the percentage": lambda p, n: n - p * n // 100,
            "Multiplies without dividing by a hundred": lambda p, n: p * n,
            "Always takes ten percent": lambda _, n: n // 10,
        },
    ),
    Construct(
        "Raise an amount by a percentage", "Percentages",
        ("Raise {1} by {0}%.", "A price of {1} goes up by {0}%. What is it then?"), _percent,
        lambda p, n: n + p * n // 100,
        {
            "Adds the percentage as a number": lambda p, n: n + p,
            "Gives only the rise": lambda p, n: p * n // 100,
            "Lowers instead of raising": lambda p, n: n - p * n // 100,
            "Doubles the amount": lambda _, n: 2 * n,
        },
    ),
    Construct(
        "Share in a ratio", "Ratio",
        ("Share {2} in the ratio {0} : {1}. What is the first share?",
         "{2} is shared in the ratio {0} : {1}. How much is the first share?"),
        _shared, lambda a, b, n: n // (a + b) * a,
        {
            "Gives the second share": lambda a, b, n: n // (a + b) * b,
            "Gives only one part of the ratio": lambda a, b, n: n // (a + b),
            "Halves whatever the ratio": lambda a, b, n: f"{n / 2:g}",
            "Subtracts the first number of the ratio": lambda a, b, n: n - a,
        },
    ),
    Construct(
        "Find the perimeter of a rectangle", "Perimeter and area",
        ("A rectangle is {} cm by {} cm. What is its perimeter?",
         "What is the perimeter of a rectangle with sides {} cm and {} cm?"),
        _within((7, 30), (2, 20)), lambda a, b: 2 * (a + b),
        {
            "Confuses perimeter with area": lambda a, b: a * b,
            "Adds only two sides": lambda a, b: a + b,
            "Adds only three sides": lambda a, b: 2 * a + b,
            "Treats the rectangle as a square": lambda a, _: 4 * a,
        },
    ),
    Construct(
        "Find the area of a rectangle", "Perimeter and area",
        ("A rectangle is {} cm by {} cm. What is its area?",
         "What is the area of a rectangle with sides {} cm and {} cm?"),
        _within((7, 30), (3, 20)), lambda a, b: a * b,
        {
            "Confuses area with perimeter": lambda a, b: 2 * (a + b),
            "Adds the sides to find an area": lambda a, b: a + b,
            "Doubles the area": lambda a, b: 2 * a * b,
            "Squares the longer side": lambda a, b: max(a, b) ** 2,
        },
    ),
    Construct(
        "Find the area of a triangle", "Perimeter and area",
        ("A triangle has base {} cm and height {} cm. What is its area?",
         "What is the area of a triangle with base {} cm and height {} cm?"),
        lambda rng: (4 * rng.randint(2, 9), 2 * rng.randint(3, 12)), lambda a, b: a * b // 2,
        {
            "Forgets to halve for a triangle": lambda a, b: a * b,
            "Adds base and height": lambda a, b: a + b,
            "Halves twice": lambda a, b: a * b // 4,
            "Doubles instead of halving": lambda a, b: 2 * a * b,
        },
    ),
    Construct(
        "Find an angle of a triangle", "Angles",
        ("Two angles of a triangle are {} and {} degrees. What is the third?",
         "A triangle has angles of {} and {} degrees. Find the third angle."),
        _within((20, 80), (25, 85)), lambda a, b: 180 - a - b,
        {
            "Thinks the angles of a triangle add up to 360": lambda a, b: 360 - a - b,
            "Takes away only the first angle": lambda a, _: 180 - a,
            "Takes away only the second angle": lambda _, b: 180 - b,
            "Adds the given angles": lambda a, b: a + b,
        },
    ),
    Construct(
        "Find an angle on a straight line", "Angles",
        ("Two angles lie on a straight line. One is {} degrees. What is the other?",
         "An angle of {} degrees lies on a straight line. Find the angle beside it."),
        _within((20, 85)), lambda a: 180 - a,
        {
            "Thinks a straight line has 360 degrees": lambda a: 360 - a,
            "Thinks a straight line has 90 degrees": lambda a: 90 - a,
            "Thinks angles on a line are equal": lambda a: a,
            "Thinks a straight line has 100 degrees": lambda a: 100 - a,
        },
    ),
    Construct(
        "Solve an equation with one addition", "Equations",
        ("Solve x + {} = {}.", "x + {} = {}. What is x?"),
        lambda rng: (rng.randint(3, 20), rng.randint(25, 90)), lambda a, b: b - a,
        {
            "Adds when the equation asks to subtract": lambda a, b: a + b,
            "Gives the number on the right side": lambda _, b: b,
            "Subtracts the wrong way round": lambda a, b: a - b,
            "Multiplies both numbers of the equation": lambda a, b: a * b,
        },
    ),
    Construct(
        "Solve an equation with one multiplication", "Equations",
        ("Solve {}x = {}.", "{}x = {}. What is x?"), _solved, lambda a, b: b // a,
        {
            "Subtracts the coefficient": lambda a, b: b - a,
            "Multiplies by the coefficient": lambda a, b: b * a,
            "Adds the coefficient": lambda a, b: b + a,
            "Divides the coefficient by the number": _simple,
        },
    ),
    Construct(
        "Collect like terms", "Algebra",
        ("Simplify {}x + {}x.", "Write {}x + {}x as one term."), _within((2, 15), (2, 12)),
        lambda a, b: f"{a + b}x",
        {
            "Multiplies the coefficients": lambda a, b: f"{a * b}x",
            "Adds the powers of like terms": lambda a, b: f"{a + b}x^2",
            "Leaves out the letter": lambda a, b: a + b,
            "Joins the coefficients as digits": lambda a, b: f"{a}{b}x",
        },
    ),
    Construct(
        "Expand a bracket", "Algebra",
        ("Expand {}(x + {}).", "Multiply out {}(x + {})."), _within((2, 12), (2, 12)),
        lambda a, b: f"{a}x + {a * b}",
        {
            "Multiplies only the first term": lambda a, b: f"{a}x + {b}",
            "Multiplies only the second term": lambda a, b: f"x + {a * b}",
            "Adds the factor to the second term": lambda a, b: f"{a}x + {a + b}",
            "Joins terms that are not alike": lambda a, b: f"{a * b}x",
        },
    ),
    Construct(
        "Find the mean", "Statistics",
        ("What is the mean of {}, {} and {}?", "Find the mean of {}, {} and {}."), _three,
        lambda a, b, c: (a + b + c) // 3,
        {
            "Gives the total instead of the mean": lambda a, b, c: a + b + c,
            "Gives the middle value instead of the mean": _middle,
            "Gives the largest value instead of the mean": max,
            "Divides the total by two": lambda a, b, c: f"{(a + b + c) / 2:g}",
        },
    ),
    Construct(
        "Find the median", "Statistics",
        ("What is the median of {}, {}, {}, {} and {}?", "Find the median of {}, {}, {}, {}, {}."),
        _five, _middle,
        {
            "Does not put the numbers in order": lambda *n: n[2],
            "Gives the largest value instead of the median": lambda *n: max(n),
            "Gives the smallest value instead of the median": lambda *n: min(n),
            "Gives the total instead of the median": lambda *n: sum(n),
        },
    ),
    Construct(
        "Find the range", "Statistics",
        ("What is the range of {}, {}, {}, {} and {}?", "Find the range of {}, {}, {}, {}, {}."),
        _five, lambda *n: max(n) - min(n),
        {
            "Gives the largest value instead of the range": lambda *n: max(n),
            "Adds the largest and the smallest value": lambda *n: max(n) + min(n),
            "Subtracts the first value from the last": lambda *n: n[-1] - n[0],
            "Counts the values instead of the range": lambda *n: f"{len(n)}",
        },
    ),
    Construct(
        "Find a length of time", "Time",
        ("How many minutes are there from {0}:{1} to {2}:{3:02}?",
         "A film runs from {0}:{1} to {2}:{3:02}. How many minutes is that?"),
        _minutes, lambda a, b, c, d: 60 * (c - a) + d - b,
        {
            "Treats an hour as a hundred minutes": lambda a, b, c, d: 100 * (c - a) + d - b,
            "Ignores the hours": lambda a, b, c, d: abs(d - b),
            "Counts one hour too many": lambda a, b, c, d: 60 * (c - a) + d - b + 60,
            "Adds the minutes of both times": lambda a, b, c, d: b + d,
        },
    ),
    Construct(
        "Convert metres to centimetres", "Measures",
        ("How many cm are {} m?", "Change {} m into cm."), _within((2, 90)), lambda a: 100 * a,
        {
            "Thinks a metre has ten centimetres": lambda a: 10 * a,
            "Thinks a metre has a thousand centimetres": lambda a: 1000 * a,
            "Divides when changing to a smaller unit": lambda a: f"{a / 100:.2f}",
            "Keeps the number when changing the unit": lambda a: a,
        },
    ),
    Construct(
        "Continue a sequence", "Sequences",
        ("What comes next: {0}, {n1}, {n2}, {n3}?", "Continue: {0}, {n1}, {n2}, {n3}."),
        lambda rng: (rng.randint(2, 30), rng.randint(3, 12)), lambda a, d: a + 4 * d,
        {
            "Adds the last two terms": lambda a, d: 2 * a + 5 * d,
            "Adds one to the last term": lambda a, d: a + 3 * d + 1,
            "Gives the difference instead of the next term": lambda _, d: d,
            "Doubles the last term": lambda a, d: 2 * (a + 3 * d),
            "Leaves out one term": lambda a, d: a + 5 * d,
        },
    ),
)  # fmt: skip

NAMES: tuple[str, ...] = tuple(name for one in CONSTRUCTS for name in one.wrong)
"""Every misconception; the place of its name is its number."""


def _asked(construct: Construct, numbers: Numbers, stem: str) -> str:
    further: dict[str, object] = {}
    if "{digit}" in stem:
        further["digit"] = _digits(numbers[0])[numbers[1]]
    if "{n1}" in stem:
        first, step = numbers
        further |= {f"n{place}": first + place * step for place in (1, 2, 3)}
    return stem.format(*numbers, **further)


def _question(rng: random.Random, construct: Construct, count: int = SHOWN) -> Question:
    while True:
        numbers = construct.draw(rng)
        right = str(construct.right(*numbers))
        wrong = {name: str(rule(*numbers)) for name, rule in construct.wrong.items()}
        if len({right, *wrong.values()}) <= len(wrong):
            continue
        names = rng.sample(list(wrong), count)
        asked = _asked(construct, numbers, rng.choice(construct.asks))
        return Question(construct, asked, right, {wrong[name]: name for name in names})


def question(pick: Pick, rng: random.Random, construct: Construct | None = None) -> Question:
    """Draws a question with its wrong answers."""
    about = construct or rng.choice(CONSTRUCTS)
    found: Question = pick(lambda rng: _question(rng, about), rng)
    return found


def block(asked: Question, wrong: str) -> str:
    """What a question says up to where the misconception is named."""
    return (
        f"Subject: {asked.construct.subject}\nConstruct: {asked.construct.name}\n"
        f"Question: {asked.question}\nRight answer: {asked.right}\nWrong answer: {wrong}\n"
        "Misconception:"
    )


def prompt(blocks: Sequence[tuple[str, str]], last: str) -> str:
    """The prompt: examples with their names, and the one that is asked."""
    shown = [f"{text} {name}" for text, name in blocks]
    return "\n\n".join([BEGINNING, *shown, last])


def document(pick: Pick, rng: random.Random) -> Document:
    """A training document: no to three examples, a wrong answer, and its misconception."""
    asked = question(pick, rng)
    wrong, name = rng.choice(list(asked.wrong.items()))
    examples = []
    for _ in range(rng.choices((0, 1, 2, 3), (35, 15, 40, 10))[0]):
        near = [one for one in CONSTRUCTS if one.subject == asked.construct.subject]
        about = rng.choices(
            [asked.construct, rng.choice(near), rng.choice(CONSTRUCTS)], (65, 20, 15)
        )[0]
        example = question(pick, rng, about)
        text, its_name = rng.choice(list(example.wrong.items()))
        examples.append((block(example, text), its_name))
    return answered(prompt(examples, block(asked, wrong)), name, 2 * Weight.TEXT, rng)


def row(number: int, asked: Question, rng: random.Random) -> dict[str, Any]:
    """A row in the wide form: four answers, and which misconception each of them shows."""
    answers = [asked.right, *asked.wrong]
    rng.shuffle(answers)
    found: dict[str, Any] = {
        "QuestionId": number,
        "ConstructId": CONSTRUCTS.index(asked.construct),
        "ConstructName": asked.construct.name,
        "SubjectId": sorted({one.subject for one in CONSTRUCTS}).index(asked.construct.subject),
        "SubjectName": asked.construct.subject,
        "CorrectAnswer": "ABCD"[answers.index(asked.right)],
        "QuestionText": asked.question,
    }
    found |= {f"Answer{letter}Text": text for letter, text in zip("ABCD", answers, strict=True)}
    for letter, text in zip("ABCD", answers, strict=True):
        name = asked.wrong.get(text)
        found[f"Misconception{letter}Id"] = "" if name is None else NAMES.index(name)
    return found
