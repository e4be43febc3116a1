"""Reports of earlier versions, read as this one would have written them.

Each step takes the JSON document of one version to the next one, so that a new version adds one
step and no place that reads a report has to know of any. `Report` takes them when it reads. What
has been judged stays as it was judged: `rules` says by which version's rules, and `verify` judges
by these.

1  no margin, no verdict against it, no receipt
2  units derived from the values of the rows; a written answer is never guessed
3  units declared; the most frequent of few labels is a guess
4  one baseline, any number of candidates
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Document = dict[str, Any]

FORMER_BASELINE, FORMER_CANDIDATE = "base", "quantized"
"""What the two arms of a run were called before there were several candidates.

A candidate of such a run keeps its name; the baseline takes that of today.
"""

_FOUND = {
    "loss": "a loss on at least one task",
    "gain": "a gain on at least one task",
    "no-loss-shown": "no loss",
}
"""What a verdict of version 1 could be → what it says."""

_DEFAULT_MARGIN = 1.0


def migrated(document: Mapping[str, Any]) -> Document:
    """Return a report's document as the newest version has it; one of no known version as it is.

    So is one that is not of the form of its version: reading it says what is wrong.
    """
    found = dict(document)
    try:
        while isinstance(version := found.get("schema_version"), int) and version in _STEPS:
            found = _STEPS[version](found)
    except (AttributeError, LookupError, TypeError, ValueError):
        return dict(document)
    return found


def _to_2(report: Document) -> Document:
    """Version 1 held its comparison against no margin, so there is neither PASS nor FAIL."""
    verdict = report.get("verdict")
    if isinstance(verdict, Mapping) and (found := _FOUND.get(str(verdict.get("status")))):
        spec = report.get("spec", {}).get("verdict") or {}
        verdict = {
            **verdict,
            "status": "INCONCLUSIVE",
            "margin_points": spec.get("margin_points", _DEFAULT_MARGIN),
            "reasons": [f"It was judged before there were margins: {found} was shown."],
        }
    return {**report, "schema_version": 2, "rules": 1, "verdict": verdict, **_comparison(report, 2)}


def _to_3(report: Document) -> Document:
    rules = report.get("rules", 2)
    return {**report, "schema_version": 3, "rules": rules, **_comparison(report, 3)}


def _comparison(report: Document, version: int) -> Document:
    comparison = report.get("comparison")
    if not isinstance(comparison, Mapping) or comparison.get("schema_version") != version - 1:
        return {}
    return {"comparison": {**comparison, "schema_version": version}}


def _to_4(report: Document) -> Document:
    """Version 3 knew one model: as it came, and as its checkpoint."""
    arms, name = dict(report.get("arms") or {}), FORMER_CANDIDATE
    baseline, candidate = _arm(arms.get(FORMER_BASELINE)), _arm(arms.get(FORMER_CANDIDATE))
    spec = dict(report.get("spec") or {})
    if "quantization" in spec:
        short = {key: spec.pop(key) for key in ("model", "serving") if key in spec}
        recipe = spec.pop("quantization")
        spec |= {"baseline": short, "candidates": [{"name": name, "quantization": recipe}]}
        model = short.get("model", {})
        place = {"model": model.get("id", ""), "source": model.get("source", "local")}
        for arm in (baseline, candidate):
            arm["checkpoint"] = {**arm.get("checkpoint", {}), **place}
    if report.get("calibration"):
        candidate["checkpoint"] = {**candidate["checkpoint"], "calibration": report["calibration"]}
    judgement: Document = {
        key: report[key] for key in ("verdict", "overlap", "alert", "not_compared") if key in report
    }
    judgement["comparison"] = _sides(report.get("comparison") or {})
    left = {key: value for key, value in report.items() if key not in _OF_A_CANDIDATE}
    return {
        **left,
        "schema_version": 4,
        "rules": report.get("rules", 3),
        "spec": spec,
        "arms": {"baseline": baseline, name: candidate},
        "judged": {name: judgement},
    }


_OF_A_CANDIDATE = ("comparison", "overlap", "alert", "not_compared", "calibration")
_SIDES = {
    FORMER_BASELINE: "baseline", FORMER_CANDIDATE: "candidate",
    f"perplexity_{FORMER_BASELINE}": "perplexity_baseline",
    f"perplexity_{FORMER_CANDIDATE}": "perplexity_candidate",
}  # fmt: skip


def migrated_arm(document: Mapping[str, Any]) -> Document:
    """Return the record of one arm, as a run of any version keeps it in its folder."""
    return _arm(document)


def _arm(found: object) -> Document:
    arm = dict(found) if isinstance(found, Mapping) else {}
    return {**arm, "tasks": {name: _task(task) for name, task in arm.get("tasks", {}).items()}}


def _task(scores: Document) -> Document:
    """The task's questions had another name."""
    renamed = {"questions" if key == "exam" else key: value for key, value in scores.items()}
    subtasks = {name: _task(sub) for name, sub in scores.get("subtasks", {}).items()}
    return renamed | {"subtasks": subtasks}


def _sides(comparison: Document) -> Document:
    def of(found: Mapping[str, Any]) -> Document:
        return {_SIDES.get(key, key): value for key, value in found.items()}

    fidelity = comparison.get("fidelity")
    return {
        **comparison,
        "schema_version": 4,
        "metrics": [of(metric) for metric in comparison.get("metrics", ())],
        "fidelity": of(fidelity) if fidelity else None,
        "lengths": {task: of(arms) for task, arms in comparison.get("lengths", {}).items()},
    }


_STEPS: dict[int, Callable[[Document], Document]] = {1: _to_2, 2: _to_3, 3: _to_4}
