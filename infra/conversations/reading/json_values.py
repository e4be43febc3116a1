"""Rows of JSON text, by what it holds and not by its file's name.

One value a line, one array over many lines or in one, values one after the other: people call each
of them `.json` and each of them `.jsonl`. Read in pieces, so that a large file needs little memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from io import StringIO
from itertools import chain
from typing import Any, TextIO

_PIECE = 1 << 16
"""Characters that are read at once."""

_BETWEEN = re.compile(r"[\s,]*")
_KIND = re.compile(r'\s*\[?\{"[^"]*"')
_STOPPERS = re.compile(r"[,}\]\s]")
_NEAR_THE_END = 16
"""Characters: an error so near to the end of a piece may be mended by the next one."""

_DECODER = json.JSONDecoder()


class NotJson(Exception):
    """Text that is no JSON."""

    def __init__(self, line: int, why: str, *, undecoded: bool = False) -> None:
        """Take the line, counted from 1, and what it is; whether that is about its encoding."""
        super().__init__(line, why)
        self.line = line
        self.why = why
        self.undecoded = undecoded


def rows(text: TextIO, is_part: Callable[[Any], bool]) -> Iterator[tuple[int, int | None, Any]]:
    """Yield every row: each value, or each element of an array.

    A comma too many, at the end of a line or of an array, is passed over: nothing else can be
    meant.

    Args:
        text: At its beginning. Bytes that could not be decoded are surrogates in it.
        is_part: Tells an element by which an array is one row, as a message of a conversation is.

    Yields:
        Line, counted from 1; number of the row where rows are no lines; the row.

    Raises:
        NotJson: It is none; the error names the line.
    """
    first = _head(text)
    second = _head(text) if first.endswith("\n") else ""
    if not _is_one_a_line(first, second):
        for number, (line, row) in enumerate(_Stream(text, first + second).rows(is_part), 1):
            yield line, number, row
        return
    for number, content in enumerate(chain(StringIO(first + second), text), 1):
        for value in _of_line(content, number):
            for row in _elements(value, is_part):
                yield number, None, row


def check_decoded(text: str, line: int) -> None:
    """Refuse text that holds bytes of another encoding.

    Raises:
        NotJson: It does.
    """
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        where = line + text.count("\n", 0, error.start)
        raise NotJson(where, f"is not utf-8 (byte 0x{byte:02x})", undecoded=True) from None


def begins_as_json(text: TextIO) -> bool:
    """Return whether text begins with an object or an array that is JSON."""
    head = _head(text).lstrip()
    if not head.startswith(("{", "[")):
        return False
    try:
        _, end = _DECODER.raw_decode(head)
    except (ValueError, RecursionError):
        # The first of many lines: an array or object that goes on.
        return bool(re.match(r'\{\s*("|\Z)|\[\s*([\[{"]|\Z)', head))
    return head[end:].strip()[:1] in {"", ",", "{", "["}  # and no text that begins so


def _head(text: TextIO) -> str:
    """Return the next line with content, or a piece of it, with the empty ones before it."""
    found = ""
    while line := text.readline(_PIECE):
        found += line
        if line.strip():
            break
    return found


def _is_one_a_line(first: str, second: str) -> bool:
    if len(first) >= _PIECE and not first.endswith("\n"):
        return False  # one long line: an array, most often
    try:
        list(_of_line(first, 1))
    except NotJson:
        # The first line may be the broken one: the second is of its kind then.
        one, two = _KIND.match(first), _KIND.match(second)
        return one is not None and two is not None and one[0] == two[0]
    return True


def _of_line(line: str, number: int) -> Iterator[Any]:
    check_decoded(line, number)
    at = _after(_BETWEEN, line, 0)
    while at < len(line):
        try:
            value, at = _DECODER.raw_decode(line, at)
        except json.JSONDecodeError as error:
            raise NotJson(number, f"is not JSON: {_why(error)}") from None
        except (ValueError, RecursionError) as error:
            raise NotJson(number, f"is not JSON: {error}") from None
        yield value
        at = _after(_BETWEEN, line, at)


def _elements(value: Any, is_part: Callable[[Any], bool]) -> list[Any]:
    whole = not isinstance(value, list) or not value or is_part(value[0])
    return [value] if whole else value


class _Stream:
    """Values of a text that is read piece by piece."""

    def __init__(self, text: TextIO, head: str) -> None:
        self._text = text
        self._held = ""
        self._at = 0
        self._line = 1
        self._ended = False
        self._take(head)

    def rows(self, is_part: Callable[[Any], bool]) -> Iterator[tuple[int, Any]]:
        while (sign := self._next()) is not None:
            line = self._line
            if sign != "[":
                yield line, self._value()
                continue
            self._move(self._at + 1)
            parts: list[Any] = []
            while (sign := self._next()) != "]":
                if sign is None:
                    raise NotJson(line, "begins an array that has no end")
                at, value = self._line, self._value()
                if parts or is_part(value):
                    parts.append(value)
                else:
                    yield at, value
            self._move(self._at + 1)
            if parts:
                yield line, parts

    def _next(self) -> str | None:
        """Go to the next sign that is no space and no comma; return it, or none at the end."""
        while True:
            self._move(_after(_BETWEEN, self._held, self._at))
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more():
                return None

    def _value(self) -> Any:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._held, self._at)
            except json.JSONDecodeError as error:
                open_text = error.msg.startswith("Unterminated string")
                near = error.pos >= len(self._held) - _NEAR_THE_END
                if (open_text or near) and self._more():
                    continue
                line = self._line + self._held.count("\n", self._at, error.pos)
                raise NotJson(line, f"is not JSON: {_why(error)}") from None
            except (ValueError, RecursionError) as error:
                raise NotJson(self._line, f"is not JSON: {error}") from None
            # A number may go on in the next piece.
            if end == len(self._held) and not _STOPPERS.match(self._held[-1]) and self._more():
                continue
            self._move(end)
            return value

    def _more(self) -> bool:
        """Read on, as much again as is held: the value is read from its start each time."""
        if self._ended:
            return False
        kept = self._held[self._at :]
        piece = self._text.read(max(_PIECE, len(kept)))
        self._ended = not piece
        self._held, self._at = kept, 0
        self._take(piece)
        return bool(piece)

    def _take(self, piece: str) -> None:
        check_decoded(piece, self._line + self._held.count("\n", self._at))
        self._held += piece

    def _move(self, to: int) -> None:
        self._line += self._held.count("\n", self._at, to)
        self._at = to


def _why(error: json.JSONDecodeError) -> str:
    if "property name" in error.msg or error.msg.startswith("Illegal trailing comma"):
        return f"{error.msg}: column {error.colno} (often a comma before }}, or ' instead of \")"
    return f"{error.msg}: column {error.colno}"


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
