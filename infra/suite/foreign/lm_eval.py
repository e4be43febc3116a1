"""lm-evaluation-harness: `samples_<task>_<date>.jsonl`, as `--log_samples` writes them.

`results_<date>.json` beside them says what the rows do not: versions, shots, which way a metric is
better, and what it is over all rows. Hashes of questions are lm-eval's own.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.store.content import digest_file
from infra.suite.foreign.files import Line, document, lines, refuse
from infra.suite.foreign.result import Result, require_once
from infra.suite.rows import Row

PROGRAM = "lm-eval"
_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")
_FIELDS = {"doc_id", "doc", "filter", "arguments", "doc_hash", "prompt_hash", "target_hash"}


def is_one(line: Line) -> bool:
    """Return whether a line is of such a file."""
    return line.keys() >= _FIELDS


def read(path: Path) -> Result:
    """Return the task of a file.

    Raises:
        ComparisonError: Its rows cannot be taken.
    """
    found = lines(path)
    named = _NAME.fullmatch(path.name)
    task = named["task"] if named else path.stem.removeprefix("samples_")
    seen: Counter[Any] = Counter()
    rows: dict[int, Row] = {}
    settings = set()
    for number, line in enumerate(found, 1):
        if not is_one(line):
            missing = ", ".join(sorted(_FIELDS - line.keys()))
            refuse(path, f"has no {missing} at line {number}", "It was written before 0.4.3.",
                   "Evaluate it again with a later version of lm-eval.")  # fmt: skip
        seen[line["doc_id"], line["filter"]] += 1
        row = rows.setdefault(line["doc_id"], _row(task, line))
        if row.doc_hash != line["doc_hash"]:
            refuse(path, f"has two questions with the number {line['doc_id']}",
                   "Two tasks were written into one file.",
                   "Give each task a file of its own.")  # fmt: skip
        row.filtered[line["filter"]] = _restored(line.get("filtered_resps"))
        for metric in line.get("metrics") or _marks(line):
            row.metrics[f"{metric},{line['filter']}"] = _mark(line.get(metric))
        settings.add(json.dumps(_generation(line), sort_keys=True))
    require_once(path, seen, "document and filter")
    results = path.with_name(f"results_{named['date']}.json") if named else None
    beside = document(results) if results and results.is_file() else {}
    conditions = {"generation_kwargs": json.loads(settings.pop())} if len(settings) == 1 else {}
    return Result(
        program=PROGRAM,
        task=task,
        rows=[*rows.values()],
        source=digest_file(path),
        reported=_reported(beside, task),
        higher_is_better=_of(beside, "higher_is_better", task) or {},
        version=str(_of(beside, "versions", task) or ""),
        num_fewshot=_of(beside, "n-shot", task),
        conditions=conditions,
    )


def _row(task: str, line: Line) -> Row:
    arguments = _arguments(line["arguments"])
    return Row(
        task=task,
        doc_id=line["doc_id"],
        doc_hash=line["doc_hash"],
        prompt_hash=line["prompt_hash"],
        target_hash=line["target_hash"],
        prompt=str(arguments[0][0]) if arguments else "",
        continuations=[one[1] for one in arguments if len(one) > 1 and isinstance(one[1], str)],
        target=line.get("target"),
        responses=line.get("resps"),
        truncated=False,
        filtered={},
        metrics={},
        doc=line["doc"] if isinstance(line["doc"], dict) else {"doc": line["doc"]},
    )


def _arguments(given: Any) -> list[list[Any]]:
    """Return what each request was made of; files have it as objects, lm-eval as lists."""
    if isinstance(given, dict):
        return [[*one.values()] for one in given.values() if isinstance(one, dict) and one]
    return [[*one] for one in given or [] if one]


def _generation(line: Line) -> Any:
    found = (one[1] for one in _arguments(line["arguments"]) if len(one) > 1)
    return next((one for one in found if isinstance(one, dict)), None)


def _marks(line: Line) -> list[str]:
    """Return the metrics of a line that does not name them: files of before 0.4.5."""
    known = {*_FIELDS, "target", "resps", "filtered_resps", "metrics"}
    return [name for name in line if name not in known]


def _mark(value: Any) -> Any:
    return float(value) if isinstance(value, bool | int) else value


def _restored(responses: Any) -> Any:
    """Return choices with their likelihoods, which files hold as texts: `["-1.0", "True"]`."""
    if not isinstance(responses, list) or not all(
        isinstance(one, list) and len(one) == 2 and one[1] in ("True", "False", True, False)
        for one in responses
    ):
        return responses
    try:
        return [[float(likelihood), str(greedy) == "True"] for likelihood, greedy in responses]
    except (TypeError, ValueError):
        return responses


def _reported(beside: Mapping[str, Any], task: str) -> dict[str, float]:
    found = _of(beside, "results", task) or {}
    return {
        name: float(value)
        for name, value in found.items()
        if "," in name and isinstance(value, float | int)
    }


def _of(beside: Mapping[str, Any], key: str, task: str) -> Any:
    found = beside.get(key)
    return found.get(task) if isinstance(found, dict) else None
