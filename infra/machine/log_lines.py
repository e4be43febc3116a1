"""Read what programs print: colours, progress bars and half-finished lines."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Iterator
from pathlib import Path

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_END = re.compile(r"\r\n|\r|\n")
_TAIL_BYTES = 256 * 1024


def strip_ansi(text: str) -> str:
    """Return the text without terminal colours and cursor movements."""
    return _ANSI.sub("", text)


def tail(log: Path, lines: int = 25) -> str:
    """Return the last lines of a log as a terminal would show them; empty if there is no log."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL_BYTES))
            text = stream.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    text = strip_ansi(text).replace("\r\n", "\n")
    shown = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return "\n".join([line for line in shown if line][-lines:])


class LineReader:
    """Turns the bytes of a growing log into lines worth telling.

    A line that ends with LF is shown. One that ends with CR is a progress bar, overwritten at
    once: at most one of those is shown in `bar_seconds`.
    """

    def __init__(self, bar_seconds: float = 1.0) -> None:
        self._bar_seconds = bar_seconds
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._open = ""
        self._after_cr = False
        self._bar_shown_at = float("-inf")
        self._last = ""

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[str]:
        """Yield the lines that `data` completes; with `final` also the one it leaves open."""
        self._open += self._decoder.decode(data, final)
        position = 0
        for end in _END.finditer(self._open):
            if end[0] == "\r" and end.end() == len(self._open) and not final:
                break  # the next byte decides between CR and CRLF
            text = self._open[position : end.start()]
            position = end.end()
            yield from self._tell(text, bar=end[0] == "\r")
            self._after_cr = end[0] == "\r"
        self._open = self._open[position:]
        if final:
            yield from self._tell(self._open, bar=False)
            self._open = ""
        elif self._after_cr:  # a bar that stands still for long is news too
            yield from self._tell(self._open, bar=True)

    def _tell(self, text: str, *, bar: bool) -> Iterator[str]:
        line = strip_ansi(text).rstrip()
        if not line or ((bar or self._after_cr) and line == self._last):
            return
        if bar:
            now = time.monotonic()
            if now - self._bar_shown_at < self._bar_seconds:
                return
            self._bar_shown_at = now
        self._last = line
        yield line
