"""Recognise a known failure of the engine in its log."""

from __future__ import annotations

import re
from collections import defaultdict

from infra.contracts.records import Record
from infra.engines.vllm import log as vllm_log
from infra.engines.vllm.diagnosis.patterns import Known, Value
from infra.engines.vllm.diagnosis.table import KNOWN


class Diagnosis(Record):
    """Why the engine failed, and what to change."""

    name: str
    """Of the entry in the table of known failures."""

    fact: str
    cause: str
    remedy: str
    field: str
    """Of the spec: `serving.max_model_len`. Empty if no field of the spec helps."""

    adjustment: dict[str, Value] | None = None
    """Field of the spec → a value with which it should work; none if no change is safe."""


def diagnose(log_text: str, exit_code: int | None) -> Diagnosis | None:
    """Return the known failure that a log tells of, None if it is none of them.

    The failure that stands first in the log counts: later ones are its consequences.

    Args:
        log_text: All that the engine printed.
        exit_code: With which it ended (128 + n after signal n); None while it runs.
    """
    for known in KNOWN:
        if known.exit_code is not None and known.exit_code == exit_code:
            return _diagnosis(known, None, log_text)
    found = [(match.start(), match, known) for known in KNOWN if (match := find(known, log_text))]
    if not found:
        return None
    _, match, known = min(found, key=lambda candidate: candidate[0])
    return _diagnosis(known, match, log_text)


def find(known: Known, log_text: str) -> re.Match[str] | None:
    """Return where a log tells of one known failure, None if it does not."""
    if known.needs and not re.search(known.needs, log_text):
        return None
    if known.never and re.search(known.never, log_text):
        return None
    text = vllm_log.failure(log_text)
    matches = [match for pattern in known.patterns if (match := re.search(pattern, text))]
    return min(matches, key=lambda match: match.start(), default=None)


def _diagnosis(known: Known, match: re.Match[str] | None, log_text: str) -> Diagnosis:
    named = match.groupdict() if match else {}
    values = defaultdict(str, {name: text for name, text in named.items() if text})
    return Diagnosis(
        name=known.name,
        fact=known.fact.format_map(values),
        cause=known.cause.format_map(values),
        remedy=known.remedy.format_map(values),
        field=known.field,
        adjustment=known.adjust(values, log_text),
    )
