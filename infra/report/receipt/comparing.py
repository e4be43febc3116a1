"""Where two JSON documents differ: what a report says, and what follows from what is stored."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from infra.contracts.records import Record

WORDS = ("method", "headline", "reasons", "needed", "breach")
"""Fields that another version may word in another way; each has to tell its own numbers."""

_NUMBER = re.compile(r"−?\d+(?:[.,]\d+)*")


def plain(record: Record | None) -> Any:
    """Return a record as its JSON says it."""
    return None if record is None else json.loads(record.model_dump_json())


def unequal(path: str, reported: Any, found: Any) -> Iterator[str]:
    """Return where two documents differ, but for their words; numbers may differ by rounding.

    Args:
        path: Where the documents are from.
        reported: As the report says it.
        found: As it follows from what is stored.
    """
    if isinstance(reported, dict) and isinstance(found, dict):
        keys = dict.fromkeys([*reported, *found])
        for key in (key for key in keys if key not in WORDS):
            yield from unequal(f"{path}.{key}", reported.get(key), found.get(key))
    elif isinstance(reported, list) and isinstance(found, list) and len(reported) == len(found):
        for place, (one, other) in enumerate(zip(reported, found, strict=True)):
            yield from unequal(f"{path}[{place}]", one, other)
    elif _numeric(reported) and _numeric(found):
        if not close(reported, found):
            yield f"{path} is {reported}, but {found} follows from what is stored"
    elif reported != found:
        yield f"{path} is {reported!r:.200}, but {found!r:.200} follows from what is stored"


def reworded(path: str, reported: Any, found: Any) -> Iterator[tuple[str, bool]]:
    """Return which words of two records differ, and whether numbers in them do.

    In the same words, numbers have to be the same in the same order. In others each has to be one
    that the same field tells; one that another field tells is in the wrong place.

    Args:
        path: Where the records are from.
        reported: A record's document, as the report says it.
        found: The same as it follows from what is stored.
    """
    for key in (key for key in WORDS if reported.get(key) != found.get(key)):
        ours, theirs = Counter(_sentences(reported.get(key))), Counter(_sentences(found.get(key)))
        one, other = (" ".join(texts.elements()) for texts in (ours - theirs, theirs - ours))
        if wrong := _wrong_number(one, other):
            yield f"{path}.{key} tells {wrong}", True
        else:
            yield f"{path}.{key} is worded in another way than by this version", False


def _wrong_number(reported: str, found: str) -> str:
    """Return the first number of a text that the other does not give it; empty without one."""
    numbers, expected = _NUMBER.findall(reported), _NUMBER.findall(found)
    if _NUMBER.sub("0", reported) == _NUMBER.sub("0", found):
        differ = [pair for pair in zip(numbers, expected, strict=True) if pair[0] != pair[1]]
        return "{}, where {} follows from what is stored".format(*differ[0]) if differ else ""
    new = Counter(numbers) - Counter(expected)
    return f"{next(iter(new))}, which follows from nothing stored" if new else ""


def close(one: float, other: float) -> bool:
    """Return whether two numbers are the same but for rounding."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)


def _sentences(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
