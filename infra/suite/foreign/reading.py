"""Which program left a file, and all files of a folder."""

from __future__ import annotations

import json
from pathlib import Path

from infra.suite.foreign import evalscope, inspect_ai, lm_eval, nemo_evaluator
from infra.suite.foreign.files import Line, document, lines, refuse
from infra.suite.foreign.result import Result

_READ = (
    "Read are samples_*.jsonl of lm-eval (--log_samples), logs of Inspect (.eval or .json), "
    "reviews/*/*.jsonl of EvalScope, and byob_predictions.jsonl or results.jsonl of NeMo Evaluator."
)
_PATTERNS = (
    "samples_*.jsonl", "*.eval", "reviews/*/*.jsonl", "byob_predictions.jsonl", "results.jsonl",
)  # fmt: skip


def read(path: Path) -> dict[str, Result]:
    """Return task → what is there of it.

    Args:
        path: A file, or a folder, of which every file is read that is known by its name.

    Raises:
        ComparisonError: There is nothing to read, or something of it cannot be taken.
    """
    if not path.is_dir():
        if not path.is_file():
            refuse(path, "does not exist", remedy=_READ)
        result = _of_file(path)
        return {result.task: result}
    files = sorted({file for pattern in _PATTERNS for file in path.rglob(pattern)})
    if not files:
        refuse(path, "holds no results that are known by their names", remedy=_READ)
    found: dict[str, Result] = {}
    places: dict[str, Path] = {}
    for file in files:
        result = _of_file(file)
        if result.task in found:
            refuse(
                file, f"is about {result.task}, and so is {places[result.task].name}",
                "The folder holds two evaluations.",
                "Name one file, or keep the evaluations in folders of their own.",
            )  # fmt: skip
        found[result.task], places[result.task] = result, file
    return found


def _of_file(path: Path) -> Result:
    try:
        return _by_form(path)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        # Each reader asks for what it needs; what else may stand there in its place is endless.
        refuse(
            path, f"is not as its program writes it: {type(error).__name__}: {error!s:.200}",
            "It was changed by hand, damaged, or written by a version of another form.",
        )  # fmt: skip


def _by_form(path: Path) -> Result:
    if path.suffix == ".eval":
        return inspect_ai.read(path)
    if path.suffix == ".json":
        log = document(path)
        if inspect_ai.is_one(log):
            return inspect_ai.read(path)
        refuse(path, "holds no rows", "Numbers over all rows cannot be compared row by row.", _READ)
    first = _first(path)
    if lm_eval.is_one(first):
        return lm_eval.read(path)
    if evalscope.is_one(first):
        return evalscope.read(path)
    if nemo_evaluator.is_prediction(first) or nemo_evaluator.is_step(first):
        return nemo_evaluator.read(path)
    if evalscope.is_prediction(first):
        refuse(path, "holds EvalScope's predictions, which have no marks",
               remedy="Name the file of the same name in reviews/ instead.")  # fmt: skip
    refuse(path, "is in no known form", f"Its first line has {', '.join(first)[:200]}.", _READ)


def _first(path: Path) -> Line:
    """Return the first line; of a file that is none of lines, what is wrong with it."""
    try:
        with path.open(encoding="utf-8") as file:
            line = json.loads(next(one for one in file if one.strip()))
    except (OSError, ValueError, StopIteration):
        return lines(path)[0]
    return line if isinstance(line, dict) else lines(path)[0]
