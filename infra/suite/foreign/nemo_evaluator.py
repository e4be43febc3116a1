"""NeMo Evaluator: what it leaves of benchmarks of its own.

`byob_predictions.jsonl` of a benchmark that its user brought, and `results.jsonl` of its own loop.
What it lets lm-eval evaluate is in lm-eval's own files.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from infra.store.content import digest_file
from infra.suite.foreign.files import Line, document, lines, refuse
from infra.suite.foreign.result import Result, one_row, require_asked, require_once

PROGRAM = "NeMo Evaluator"
_NO_PROMPTS = (
    "results.jsonl of NeMo Evaluator holds no prompts: rows are paired by their number and right "
    "answer, and nothing here can tell whether they were put in the same words."
)


def is_prediction(line: Line) -> bool:
    """Return whether a line is of a benchmark that its user brought."""
    return line.keys() >= {"sample_id", "prompt", "response", "scores", "status"}


def is_step(line: Line) -> bool:
    """Return whether a line is of the program's own loop."""
    return line.keys() >= {"problem_idx", "reward", "expected_answer"}


def read(path: Path) -> Result:
    """Return the task of a file.

    Raises:
        ComparisonError: Its rows cannot be taken.
    """
    found = lines(path)
    return _predictions(path, found) if is_prediction(found[0]) else _steps(path, found)


def _predictions(path: Path, found: list[Line]) -> Result:
    task = path.parent.name or path.stem
    rows = []
    for number, line in enumerate(found, 1):
        if not is_prediction(line):
            refuse(path, f"has no prediction at line {number}")
        if line["status"] != "scored" or not isinstance(line["scores"], dict):
            refuse(path, f"has no mark for the sample {line['sample_id']}: {line['status']}",
                   str(line.get("error") or ""), "Evaluate it again.")  # fmt: skip
        require_asked(path, str(line["prompt"] or ""), f"at line {number}")
        rows.append(
            one_row(
                task,
                number - 1,
                question=line["prompt"],
                prompt=line["prompt"],
                target=line.get("target"),
                answer=line["response"],
                marks={f"{name},none": mark for name, mark in line["scores"].items()},
                doc={"question": line["prompt"]},
            )
        )
    require_once(path, Counter(line["sample_id"] for line in found), "the sample")
    return Result(program=PROGRAM, task=task, rows=rows, source=digest_file(path))


def _steps(path: Path, found: list[Line]) -> Result:
    task = _name(path)
    asked: Counter[Any] = Counter(line.get("problem_idx") for line in found)
    repeats = max(asked.values())
    numbers = {problem: number for number, problem in enumerate(asked)}
    rows = []
    for number, line in enumerate(found, 1):
        if not is_step(line):
            refuse(path, f"has no result at line {number}")
        problem = line["problem_idx"]
        rows.append(
            one_row(
                task,
                numbers[problem],
                question=problem,
                prompt="",
                target=line["expected_answer"],
                answer=line.get("extracted_answer"),
                marks={"reward,none": line["reward"]},
                doc={"problem": f"{problem}: {line['expected_answer']}"},
                repeat=int(line.get("repeat", 0)) if repeats > 1 else None,
            )
        )
    require_once(
        path, Counter((line["problem_idx"], line.get("repeat", 0)) for line in found),
        "problem and repeat",
    )  # fmt: skip
    return Result(
        program=PROGRAM,
        task=task,
        rows=rows,
        source=digest_file(path),
        conditions={"sampling": {"repeats": repeats}} if repeats > 1 else {},
        notes=(_NO_PROMPTS,),
    )


def _name(path: Path) -> str:
    """Return the benchmark's name, which stands in the bundle beside its results."""
    for bundle in sorted(path.parent.glob("eval-*.json")):
        benchmark = document(bundle).get("benchmark")
        if isinstance(benchmark, dict) and benchmark.get("name"):
            return str(benchmark["name"])
    return path.parent.name or path.stem
