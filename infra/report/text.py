"""Untrusted texts, made fit for a page or for Markdown."""

from __future__ import annotations

import re
from typing import Any

from infra.contracts.specs import BASELINE

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(value: Any) -> Any:
    """Show what a file cannot hold (control characters, half a surrogate pair) as `�`."""
    if type(value) is str and _CONTROL.search(value):
        return _CONTROL.sub("\ufffd", value)
    return value


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, in one line."""
    line = " ".join(printable(text).split())
    for mark in "\\`*_[]<>|#~":
        line = line.replace(mark, f"\\{mark}")
    return line


def code(text: str) -> str:
    """Return a text as Markdown code, in one line."""
    line = " ".join(printable(text).replace("`", " ").split())
    return f"`{line or '-'}`"


def coded(sentence: str) -> str:
    """Return a sentence as `escaped` does, but what stands between backticks as code."""
    parts = printable(sentence).split("`")
    if len(parts) % 2 == 0:  # one without its fellow
        return escaped(sentence)
    texts = [
        code(part) if place % 2 else re.sub(r"\S.*\S|\S", lambda m: escaped(m[0]), part, flags=re.S)
        for place, part in enumerate(parts)
    ]
    return " ".join("".join(texts).split())


def arm_name(arm: str) -> str:
    """Return what an arm is called within a sentence."""
    return f"the {arm}" if arm == BASELINE else arm


def capitalized(sentence: str) -> str:
    """Return a sentence with its first letter large, all others as they are."""
    return sentence[:1].upper() + sentence[1:]
