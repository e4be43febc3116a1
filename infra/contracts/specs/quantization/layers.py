"""Patterns of layer names, as compressed-tensors reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from infra.contracts.errors import SpecError

_REGEX = "re:"
EVERY_LAYER = "Linear"
"""Class of the layers that are quantized: as a pattern it means all of them."""


def check_patterns(field: str, patterns: Iterable[str]) -> None:
    """Refuse patterns that can mean no layer.

    Args:
        field: What holds them, for messages.
        patterns: Names of layers, or regular expressions after `re:`.

    Raises:
        SpecError: One of them is empty, stands twice, or is no regular expression.
    """
    before = set[str]()
    for pattern in patterns:
        if not pattern.removeprefix(_REGEX).strip():
            raise SpecError(
                f"{field} holds an empty pattern.",
                cause="It would mean no layer.",
                remedy=f"Remove it from {field}.",
            )
        if pattern in before:
            raise SpecError(
                f"{field} names {pattern!r} twice.",
                remedy="Name it once.",
            )
        before.add(pattern)
        if any(sign in pattern for sign in "*?[") and not pattern.startswith(_REGEX):
            raise SpecError(
                f"{field} holds {pattern!r}, which is taken for the name of a layer.",
                cause="Patterns are regular expressions after `re:`; there are no others.",
                remedy=f"Write for instance re:{_as_regex(pattern)} in {field}.",
            )
        if pattern.startswith(_REGEX):
            try:
                re.compile(pattern.removeprefix(_REGEX))
            except re.error as error:
                raise SpecError(
                    f"{field} holds {pattern!r}, which is no regular expression.",
                    cause=str(error),
                    remedy="Correct it.",
                ) from error


def means(pattern: str, name: str) -> bool:
    """Tell whether a pattern means a layer, as compressed-tensors matches names."""
    if pattern.startswith(_REGEX):
        return re.match(pattern.removeprefix(_REGEX), name) is not None
    return pattern in (name, EVERY_LAYER)


def _as_regex(glob: str) -> str:
    return re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".").replace(r"\[", "[")
