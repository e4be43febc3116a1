"""What is different between two runs: engine, driver, device, data, recipe, model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from infra.contracts.records import Report
from infra.contracts.specs import BASELINE
from infra.report.receipt.sealing import document_of, leaves
from infra.report.trend.rows import environment_name, rows_of

if TYPE_CHECKING:
    import pandas as pd

_DIGEST = re.compile(r"[0-9a-f]{40,64}( with changes)?")
_SHORT = 12

_LEFT_OUT = ("results.",)
"""Of the spec: where the results go changes no result."""

_SAME_FOR_ALL = {"prefect_url", "run_key"}
"""Of the provenance: new with every run, or a digest over all the rest."""

_ABOUT_TASKS = ("version", "num_fewshot", "dataset", "questions", "conditions")


def changes(before: Mapping[str, Any], report: Report) -> tuple[str, ...]:
    """Return what is different from an earlier report: `engine: 0.31.0 → 0.32.0`.

    Args:
        before: The earlier report as its JSON says it; a version of Assay that no longer is may
            have written it.
        report: The later one.
    """
    return _different(dict(_facts(before)), dict(_facts(document_of(report))))


def changes_from_history(rows: pd.DataFrame, report: Report) -> tuple[str, ...]:
    """Return the same as far as the history tells, where the earlier report is gone.

    Args:
        rows: Rows of the earlier run.
        report: The later one.
    """
    texts = rows[["arm", "task", *_NAMES]].astype("string").astype(object)
    earlier = texts.where(texts.notna(), None).to_dict("records")
    return _different(_columns(earlier), _columns(rows_of(report)))


_NAMES = {
    "engine_version": "engine", "environment": "engine's environment", "device": "device",
    "driver": "driver", "host": "host", "kernel": "kernel", "dtype": "dtype",
    "max_model_len": "max_model_len", "checkpoint": "checkpoint", "assay_commit": "Assay",
    "calibration": "calibration conversations", "questions": "questions", "dataset": "dataset",
    "task_version": "version", "revision": "model.revision", "recipe": "quantization",
    "serving": "serving",
}  # fmt: skip
"""Column of the history → what it tells, as far as possible by the names that `_facts` has."""

_OF_TASK = {"questions", "dataset", "task_version"}
_OF_CANDIDATE = {"calibration", "recipe"}
_OF_ARM = {"kernel", "dtype", "max_model_len", "checkpoint", *_OF_CANDIDATE}


def _columns(rows: Iterable[Mapping[Any, Any]]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for row in rows:
        for column, name in _NAMES.items():
            if column in _OF_TASK and row["arm"] != BASELINE:
                continue  # all arms were evaluated alike
            if column in _OF_CANDIDATE and row["arm"] == BASELINE:
                continue  # earlier versions wrote it there, too
            about = "task" if column in _OF_TASK else "arm" if column in _OF_ARM else None
            facts.setdefault(f"{row[about]}: {name}" if about else name, str(row.get(column)))
    return facts


def _facts(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return what may differ, the likeliest causes first."""
    arms = _mapping(report.get("arms"))
    for arm, result in arms.items():
        yield from _of_arm(arm, _mapping(result))
    provenance = _mapping(report.get("provenance"))
    yield "Assay", str(provenance.get("assay commit"))
    for name, value in provenance.items():
        if name not in _SAME_FOR_ALL and name != "assay commit":
            yield "devices" if name == "device" else name, str(value)
    for name, task in _mapping(_mapping(arms.get(BASELINE)).get("tasks")).items():
        for field in _ABOUT_TASKS:
            for path, value in leaves(_mapping(task).get(field)):
                yield f"{name}: {field}{'.' if path else ''}{path}", str(value)
    for path, value in leaves(dict(_mapping(report.get("spec")))):
        if not path.startswith(_LEFT_OUT):
            yield path, str(value)


def _of_arm(arm: str, result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    server = _mapping(result.get("server"))
    if arm == BASELINE:
        yield "engine", str(server.get("version"))
        yield "engine's environment", str(environment_name(server.get("command") or ()))
        yield "device", str(server.get("device"))
    for field in ("kernel", "dtype", "max_model_len"):
        yield f"{arm}: {field}", str(server.get(field))
    checkpoint = _mapping(result.get("checkpoint"))
    yield f"{arm}: checkpoint", str(checkpoint.get("digest"))
    for adjusted in server.get("adjustments") or ():
        yield f"{arm}: adjusted {adjusted.get('field')}", str(adjusted.get("after"))
    if card := _mapping(checkpoint.get("calibration")):
        yield f"{arm}: calibration conversations", str(card.get("fingerprint"))
        yield f"{arm}: calibration conversations used", str(card.get("used"))


def _different(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    names = dict.fromkeys([*now, *before])
    return tuple(
        f"{name}: {_short(before.get(name))} → {_short(now.get(name))}"
        for name in names
        if before.get(name) != now.get(name)
    )


def _short(value: str | None) -> str:
    if value in (None, "None"):
        return "none"
    if _DIGEST.fullmatch(value or ""):
        return (value or "")[:_SHORT] + ("+" if " " in (value or "") else "")
    return value or '""'


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
