"""Fields of a configuration that anybody may have written: read as far as they make sense.

What makes none is left out and noted; nothing is refused, for the engine may know better.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NUMBER = re.compile(r"\s*[+-]?\d+(\.0*)?\s*")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NOTHING = (None, "", "None", "null")
_LONGEST = 60


class Fields:
    """A JSON object, and a place for what is odd in it."""

    def __init__(self, values: Mapping[str, Any], doubts: list[str], path: str = "") -> None:
        """Take an object.

        Args:
            values: The object.
            doubts: Receives what is not understood, as sentences.
            path: Where the object stands in another, for these sentences: `config_groups.group_0`.
        """
        self._values = values
        self._path = f"{path}." if path else ""
        self.doubts = doubts

    def __bool__(self) -> bool:
        return bool(self._values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def updated(self, other: Fields) -> Fields:
        """Return the same object with another's fields where both have them."""
        return Fields({**self._values, **other._values}, self.doubts, other._path.rstrip("."))

    def keys(self) -> list[str]:
        """Return the names of all fields."""
        return [str(name) for name in self._values]

    def integer(self, *names: str) -> int | None:
        """Return the first of some fields that is there, as a whole number."""
        name, value = self._first(names)
        if value in _NOTHING:
            return None
        if type(value) is int or (isinstance(value, float) and value.is_integer()):
            return int(value)
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            self.doubt(f"{name} is written as text: {value!r}")
            return int(float(value))
        self._odd(name, value, "no whole number")
        return None

    def number(self, *names: str) -> float | None:
        """Return the first of some fields that is there, as a number."""
        name, value = self._first(names)
        if value in _NOTHING:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        self._odd(name, value, "no number")
        return None

    def flag(self, *names: str) -> bool | None:
        """Return the first of some fields that is there, as a truth value."""
        name, value = self._first(names)
        if value in _NOTHING:
            return None
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if isinstance(value, int | str) and word in _WORDS:
            self.doubt(f"{name} is written as {value!r}")
            return _WORDS[word]
        self._odd(name, value, "neither true nor false")
        return None

    def text(self, *names: str) -> str | None:
        """Return the first of some fields that is there, as text."""
        name, value = self._first(names)
        if value in _NOTHING:
            return None
        if isinstance(value, str):
            return value.strip()
        self._odd(name, value, "no text")
        return None

    def texts(self, *names: str) -> tuple[str, ...]:
        """Return the first of some fields that is there, as a list of texts; one text is a list."""
        name, value = self._first(names)
        if value in _NOTHING:
            return ()
        if isinstance(value, str):
            return tuple(part for part in (one.strip() for one in value.split(",")) if part)
        if isinstance(value, list):
            flat = [each for one in value for each in (one if isinstance(one, list) else [one])]
            if all(isinstance(one, str) for one in flat):
                return tuple(flat)
        self._odd(name, value, "no list of names")
        return ()

    def pair(self, *names: str) -> tuple[int, int] | None:
        """Return the first of some fields that is there, if it is a list of two whole numbers."""
        _, value = self._first(names)
        if isinstance(value, str) and re.fullmatch(r"\d+x\d+", value):
            value = [int(part) for part in value.split("x")]
        if isinstance(value, list | tuple) and len(value) == 2:
            first, second = value
            if all(type(one) is int and one > 0 for one in value):
                return first, second
        return None

    def object(self, *names: str) -> Fields:
        """Return the first of some fields that is there, as an object; an empty one if it is none.

        Of a list of objects the first one is taken.
        """
        name, value = self._first(names)
        if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            if len(value) > 1:
                self.doubt(f"of {len(value)} settings in {name} only the first is described")
            value = value[0]
        if value not in (None, [], "") and not isinstance(value, Mapping):
            self._odd(name, value, "no object")
        return Fields(value if isinstance(value, Mapping) else {}, self.doubts, self._path + name)

    def objects(self, *names: str) -> dict[str, Fields]:
        """Return an object of objects, without what in it is none."""
        name, value = self._first(names)
        if not isinstance(value, Mapping):
            if value not in (None, [], ""):
                self._odd(name, value, "no object")
            return {}
        here = self._path + name
        return {
            str(key): Fields(one or {}, self.doubts, f"{here}.{key}")
            for key, one in value.items()
            if isinstance(one, Mapping) or one is None
        }

    def raw(self, name: str) -> Any:
        """Return a field as it is."""
        return self._values.get(name)

    def doubt(self, sentence: str) -> None:
        """Note what is odd, once."""
        if (whole := self._path + sentence) not in self.doubts:
            self.doubts.append(whole)

    def _first(self, names: tuple[str, ...]) -> tuple[str, Any]:
        for name in names:
            if self._values.get(name) is not None:
                return name, self._values[name]
        return names[0], None

    def _odd(self, name: str, value: Any, what: str) -> None:
        shown = repr(value)
        shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
        self.doubt(f"{name} is {what}: {shown}")
