"""EvalScope: `reviews/<model>/<benchmark>_<subset>.jsonl`.

What stands in `predictions/` has no marks.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from infra.store.content import digest_file
from infra.suite.foreign.files import Line, lines, prompt_text, refuse
from infra.suite.foreign.result import Result, one_row, require_asked, require_once

PROGRAM = "EvalScope"


def is_one(line: Line) -> bool:
    """Return whether a line is of a file of reviews."""
    return "index" in line and isinstance(line.get("sample_score"), dict)


def is_prediction(line: Line) -> bool:
    """Return whether a line is of a file of predictions."""
    return "index" in line and "model_output" in line


def read(path: Path) -> Result:
    """Return the task of a file.

    Raises:
        ComparisonError: Its rows cannot be taken.
    """
    found = lines(path)
    groups: Counter[Any] = Counter()
    rows = []
    for number, line in enumerate(found, 1):
        if not is_one(line):
            refuse(path, f"has no review at line {number}")
        score = line["sample_score"]
        values = (score.get("score") or {}).get("value")
        if not isinstance(values, dict) or not values:
            refuse(path, f"has no mark at line {number}", "Its answer was not reviewed.",
                   "Evaluate it again.")  # fmt: skip
        group = score.get("group_id")
        group = line["index"] if group is None else group
        turn = groups[group]
        groups[group] += 1
        # What was asked is `messages` of later versions, `input` of earlier ones.
        prompt = prompt_text(line.get("messages") or line.get("input"))
        require_asked(path, prompt, f"at line {number}")
        rows.append((group, turn, line, prompt, _ordered(score["score"], values)))
    require_once(path, Counter(line["index"] for _, _, line, _, _ in rows), "the index")
    repeats = max(groups.values())
    if set(groups.values()) != {repeats}:
        refuse(path, "has questions that were asked more often than others",
               remedy="Evaluate it again, all equally often.")  # fmt: skip
    numbers = {group: number for number, group in enumerate(groups)}
    return Result(
        program=PROGRAM,
        task=path.stem,
        rows=[
            one_row(
                path.stem,
                numbers[group],
                question=prompt,
                prompt=prompt,
                target=line.get("target"),
                answer=line["sample_score"]["score"].get("extracted_prediction"),
                marks=marks,
                doc={"question": prompt},
                repeat=turn if repeats > 1 else None,
            )
            for group, turn, line, prompt, marks in rows
        ],
        source=digest_file(path),
        conditions={"sampling": {"repeats": repeats}} if repeats > 1 else {},
    )


def _ordered(score: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return the marks, the one that the program calls its main one first."""
    main = score.get("main_score_name")
    return {f"{name},none": values[name] for name in sorted(values, key=lambda one: one != main)}
