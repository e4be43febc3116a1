"""Reports of earlier versions, read as this one would have written them.

Each step takes the JSON document of one version to the next one, so that a new version adds one
step and no place that reads a report has to know of any. `Report` takes them when it reads. What
has been judged stays as it was judged: `rules` says by which version's rules, and `verify` judges
by these.

1  no margin, no verdict against it, no receipt
2  units told from the values of the rows; a written answer is never guessed
3  units declared; the most frequent of few labels is a guess
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Document = dict[str, Any]

_FOUND = {
    "loss": "a loss on at least one task",
    "gain": "a gain on at least one task",
    "no-loss-shown": "no loss",
}
"""What a verdict of version 1 could be → what it says."""

_DEFAULT_MARGIN = 1.0


def migrated(document: Mapping[str, Any]) -> Document:
    """Return a report's document as the newest version has it; one of no known version as it is."""
    found = dict(document)
    while isinstance(version := found.get("schema_version"), int) and version in _STEPS:
        found = _STEPS[version](found)
    return found


def _to_2(report: Document) -> Document:
    """Version 1 held its comparison against no margin, so there is neither PASS nor FAIL."""
    told = report.get("verdict")
    if isinstance(told, Mapping) and (found := _FOUND.get(str(told.get("status")))):
        verdict = report.get("spec", {}).get("verdict") or {}
        told = {
            **told,
            "status": "INCONCLUSIVE",
            "margin_points": verdict.get("margin_points", _DEFAULT_MARGIN),
            "reasons": [f"It was judged before there were margins: {found} was shown."],
        }
    return {**report, "schema_version": 2, "rules": 1, "verdict": told, **_comparison(report, 2)}


def _to_3(report: Document) -> Document:
    rules = report.get("rules", 2)
    return {**report, "schema_version": 3, "rules": rules, **_comparison(report, 3)}


def _comparison(report: Document, version: int) -> Document:
    told = report.get("comparison")
    if not isinstance(told, Mapping) or told.get("schema_version") != version - 1:
        return {}
    return {"comparison": {**told, "schema_version": version}}


_STEPS: dict[int, Callable[[Document], Document]] = {1: _to_2, 2: _to_3}
