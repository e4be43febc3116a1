"""Numbers as people read them. Rounding never makes a loss smaller or a result better."""

from __future__ import annotations

import re
import textwrap
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Literal

Unit = Literal["points", "value"]

_MINUS = "−"
_WIDTH = 100
"""Characters of a terminal's line."""
_NO_BREAK = "\x1f"


def difference(value: float, unit: Unit, *, signed: bool = True) -> str:
    """Return a difference: `−6.3` (points, hundredths of the scale) or `+0.034` (as it is)."""
    return _rounded(value, unit, ROUND_HALF_EVEN, signed=signed)


def interval(low: float, high: float, unit: Unit) -> str:
    """Return both ends, rounded outwards: `−9.9 to −2.8`. An end beside zero never reads zero."""
    ends = _rounded(low, unit, ROUND_FLOOR), _rounded(high, unit, ROUND_CEILING)
    return " to ".join(ends)


def possible_loss(loss: float, unit: Unit) -> str:
    """Return how large a loss may be, rounded up, with its unit: `7.2 points`."""
    text = _rounded(loss, unit, ROUND_CEILING, signed=False)
    return f"{text} points" if unit == "points" else text


def loss(points: float, low: float, high: float) -> str:
    """Return a loss in percentage points with the ends of its interval: `6.3 (2.8 to 9.9)`.

    The loss is rounded as `difference` rounds it, the ends outwards.
    """
    ends = (
        _rounded(low / 100, "points", ROUND_FLOOR, signed=False),
        _rounded(high / 100, "points", ROUND_CEILING, signed=False),
    )
    return (
        f"{_rounded(points / 100, 'points', ROUND_HALF_EVEN, signed=False)} ({' to '.join(ends)})"
    )


def score(value: float, unit: Unit) -> str:
    """Return a score: `61.3 %` where rows score between 0 and 1, else the number itself."""
    text = _rounded(value, unit, ROUND_HALF_EVEN, signed=False)
    return f"{text} %" if unit == "points" else text


def _rounded(value: float, unit: Unit, rounding: str, *, signed: bool = True) -> str:
    # Binary fractions are a hair off (0.072 * 100): nine decimals drop it before rounding outwards.
    exact = Decimal(repr(round(value * 100 if unit == "points" else value, 9)))
    places = 1 if unit == "points" or abs(exact) >= 100 else 3
    number = exact.quantize(Decimal(1).scaleb(-places), rounding)
    while exact and not number:  # a small number is shown small, not as nothing
        places += 1
        number = exact.quantize(Decimal(1).scaleb(-places), rounding)
    sign = _MINUS if number < 0 else "+" if signed and number > 0 else ""
    return f"{sign}{abs(number):f}"


def share(value: float) -> str:
    """Return a share, rounded down: `99.9 %`. Only all of it reads `100.0 %`."""
    return f"{_rounded(value, 'points', ROUND_FLOOR, signed=False)} %"


def confidence(value: float) -> str:
    """Return a confidence: `95 %`, or `98.33 %` of one that is divided, rounded down."""
    exact = Decimal(repr(round(value * 100, 9))).normalize()
    if exact != round(exact, 3):
        exact = exact.quantize(Decimal("0.01"), ROUND_FLOOR).normalize()
    return f"{exact:f} %"


def p_value(value: float) -> str:
    """Return a p-value with two digits, `< 0.0001` below that. It is never rounded down."""
    if value < 1e-4:
        return "< 0.0001"
    exact = Decimal(repr(value))
    place = Decimal(1).scaleb(exact.adjusted() - 1)
    return f"{exact.quantize(max(place, Decimal('0.0001')), ROUND_CEILING):f}"


def number(value: float) -> str:
    """Return a measured number with three digits: `0.0123`, `41.7`, `1,270`."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def points(value: float) -> str:
    """Return percentage points as they were asked for: `1 point`, `0.5 points`."""
    return f"{value:g} point{'' if value == 1 else 's'}"


def own_margin(value: float, unit: Unit, metric_unit: str | None = None) -> str:
    """Return a margin in a metric's own unit: `2 points`, `0.05 nats`, `0.3` of a bare value.

    Args:
        value: As in the spec.
        unit: How differences of the metric are shown.
        metric_unit: That the metric is declared to have.
    """
    if unit == "points":
        return points(value)
    return f"{value:g} {metric_unit}" if metric_unit in ("nats", "bits") else f"{value:g}"


def size(count: float) -> str:
    """Return bytes with a decimal unit: `15.2 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB" if count < 999.5 else f"{count:,.0f} TB"


def duration(seconds: float) -> str:
    """Return a duration: `0.4 s`, `38 s`, `4 min 12 s`, `1 h 3 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def wrapped(first: str, rest: str, text: str) -> list[str]:
    """Return lines of a terminal: the first begins with `first`, all others with `rest`.

    A command in backticks stays on one line, so that it can be copied.
    """
    whole = re.sub(r"`[^`\n]+`", lambda command: command[0].replace(" ", _NO_BREAK), text)
    lines = textwrap.wrap(
        whole, _WIDTH, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    ) or [first.rstrip()]  # fmt: skip
    return [line.replace(_NO_BREAK, " ") for line in lines]


def listed(words: list[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def counted(rows: int, repeats: int, *, alike: bool) -> str:
    """Return rows, or questions and how often they were asked.

    Args:
        rows: How many; questions where some are asked more than once.
        repeats: How often they are asked at most.
        alike: Whether all of them are asked so often.
    """
    if repeats == 1:
        return f"{rows:,} rows"
    return f"{rows:,} questions, asked {'' if alike else 'up to '}{repeats} times each"


def times(rows: int, repeats: int) -> str:
    """Return a number of rows for a table; of questions that are asked again, `60 × 4`."""
    return f"{rows:,}" if repeats == 1 else f"{rows:,} × {repeats}"
