"""Where two JSON documents differ: what a report says, and what follows from what is stored."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from infra.contracts.records import Record

WORDS = ("method", "headline", "reasons", "needed", "breach")
"""Fields that another version may word in another way; numbers in them may not differ."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def plain(record: Record | None) -> Any:
    """Return a record as its JSON says it."""
    return None if record is None else json.loads(record.model_dump_json())


def unequal(path: str, told: Any, found: Any) -> Iterator[str]:
    """Return where two documents differ, but for their words; numbers may differ by rounding.

    Args:
        path: Where the documents are from.
        told: As the report says it.
        found: As it follows from what is stored.
    """
    if isinstance(told, dict) and isinstance(found, dict):
        keys = dict.fromkeys([*told, *found])
        for key in (key for key in keys if key not in WORDS):
            yield from unequal(f"{path}.{key}", told.get(key), found.get(key))
    elif isinstance(told, list) and isinstance(found, list) and len(told) == len(found):
        for place, (one, other) in enumerate(zip(told, found, strict=True)):
            yield from unequal(f"{path}[{place}]", one, other)
    elif _numeric(told) and _numeric(found):
        if not close(told, found):
            yield f"{path} is {told}, but {found} follows from what is stored"
    elif told != found:
        yield f"{path} is {told!r:.200}, but {found!r:.200} follows from what is stored"


def reworded(path: str, told: Any, found: Any) -> Iterator[tuple[str, bool]]:
    """Return which words of two records differ, and whether numbers in them do.

    Args:
        path: Where the records are from.
        told: A record's document, as the report says it.
        found: The same as it follows from what is stored.
    """
    known = set(_NUMBER.findall(" ".join(_texts(found))))
    for key in (key for key in WORDS if told.get(key) != found.get(key)):
        new = [number for number in _NUMBER.findall(" ".join(_texts({key: told.get(key)})))
               if number not in known]  # fmt: skip
        if new:
            yield f"{path}.{key} tells {new[0]}, which follows from nothing stored", True
        else:
            yield f"{path}.{key} is worded in another way than by this version", False


def close(one: float, other: float) -> bool:
    """Return whether two numbers are the same but for rounding."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)


def _texts(document: Any) -> Iterator[str]:
    for key in WORDS:
        value = document.get(key) or ""
        yield from [value] if isinstance(value, str) else value


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
