"""Recognise a failure of an engine in its log."""

from __future__ import annotations

import re
from collections import defaultdict

from infra.contracts.records import Record
from infra.engines.diagnosis.patterns import Failure, Table, Value


class Diagnosis(Record):
    """Why the engine failed, and what to change."""

    name: str
    """Of the entry in the table of failures."""

    fact: str
    cause: str
    remedy: str
    field: str
    """Of the spec: `serving.max_model_len`. Empty if no field of the spec helps."""

    adjustment: dict[str, Value] | None = None
    """Field of the spec → a value with which it should work; none if no change is safe."""


def diagnose(table: Table, log_text: str, exit_code: int | None) -> Diagnosis | None:
    """Return the failure that a log tells of, None if it is none of the table.

    The failure that stands first in the log counts: later ones are its consequences.

    Args:
        table: The engine's failures.
        log_text: All that the engine printed.
        exit_code: With which it ended (128 + n after signal n); None while it runs.
    """
    for failure in table.failures:
        if failure.exit_code is not None and failure.exit_code == exit_code:
            return _diagnosis(failure, None, log_text)
    found = [
        (match.start(), match, failure)
        for failure in table.failures
        if (match := find(failure, table, log_text))
    ]
    if not found:
        return None
    _, match, failure = min(found, key=lambda candidate: candidate[0])
    return _diagnosis(failure, match, log_text)


def find(failure: Failure, table: Table, log_text: str) -> re.Match[str] | None:
    """Return where a log tells of one failure, None if it does not."""
    if failure.needs and not re.search(failure.needs, log_text):
        return None
    if failure.never and re.search(failure.never, log_text):
        return None
    text = table.said(log_text)
    matches = [match for pattern in failure.patterns if (match := re.search(pattern, text))]
    return min(matches, key=lambda match: match.start(), default=None)


def _diagnosis(failure: Failure, match: re.Match[str] | None, log_text: str) -> Diagnosis:
    named = match.groupdict() if match else {}
    values = defaultdict(str, {name: text for name, text in named.items() if text})
    return Diagnosis(
        name=failure.name,
        fact=failure.fact.format_map(values),
        cause=failure.cause.format_map(values),
        remedy=failure.remedy.format_map(values),
        field=failure.field,
        adjustment=failure.adjust(values, log_text),
    )
