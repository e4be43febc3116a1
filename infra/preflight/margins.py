"""Margins by metric: a key that fits no metric of the suite is refused before anything runs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from difflib import get_close_matches

from infra.contracts import wording
from infra.contracts.errors import AssayError
from infra.contracts.progress import Progress
from infra.contracts.specs import EndpointRunSpec, RunSpec
from infra.judging.corpus import aggregation_of
from infra.preflight.findings import Finding, note, ok, problem
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.metrics import Metric

_MARGINS = "margins"
_NAMED = 12
"""Tasks and metrics that a refusal names."""


class UnknownMetric(AssayError):
    """A margin is of a metric that no task is judged by."""


def look_at(
    spec: RunSpec | EndpointRunSpec, settings: Settings, progress: Progress
) -> list[Finding]:
    """Return which tasks are held against a margin of their own; nothing if none was asked for.

    The tasks have to be loaded.
    """
    margins = spec.verdict.margins
    if not margins:
        return []
    first = kind_of(spec.evaluation).first_metrics(
        spec.evaluation, settings=settings, progress=progress
    )
    if first is None:
        return [note(_MARGINS, "verdict.margins: looked at when the tasks are loaded")]
    keys = [*dict.fromkeys(metric for metric, _ in first.values())]
    keys += [f"{task}/{metric}" for task, (metric, _) in first.items()]
    if unknown := [key for key in margins if key not in keys]:
        return [problem(_MARGINS, _unknown(unknown, keys, first, margins))]
    held = {
        task: (metric, declared, margin)
        for task, (metric, declared) in first.items()
        if (margin := spec.verdict.own_margin(task, metric)) is not None
    }
    said = [
        f"{metric} of {task} {_amount(margin, declared)}"
        for task, (metric, declared, margin) in held.items()
    ]
    findings = [ok(_MARGINS, f"acceptable loss: {', '.join(said)}")]
    findings += [
        note(_MARGINS, f"{metric} of {task}: nothing is known of how its rows become it, so that "
             "it is never shown to keep a margin, and hinders a PASS")
        for task, (metric, declared, _) in held.items()
        if declared.aggregation == "corpus" and aggregation_of(metric) is None
    ]  # fmt: skip
    return findings


def _amount(margin: float, declared: Metric) -> str:
    unit: wording.Unit = "points" if declared.unit == "points" else "value"
    return wording.own_margin(margin, unit, declared.unit)


def _unknown(
    unknown: list[str],
    keys: list[str],
    first: Mapping[str, tuple[str, Metric]],
    margins: Mapping[str, float],
) -> UnknownMetric:
    said = [f"{task} is judged by {metric}" for task, (metric, _) in first.items()]
    meant: dict[str, float] = {}
    for key, margin in margins.items():
        close = [key] if key in keys else get_close_matches(key, keys, n=1)
        meant |= dict.fromkeys(close, margin)
    given = shlex.quote(f"verdict.margins={json.dumps(meant)}")
    return UnknownMetric(
        f"verdict.margins names {wording.listed(unknown)}, by which no task is judged.",
        cause=f"{_some(said)}." if said else "No task of this run has a metric of its own.",
        remedy=f"Name {_some(keys)}; for example --set {given}." if meant
        else f"Leave it out (--set {given}), or name {_some(keys) or 'a metric of another task'}.",
    )  # fmt: skip


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
