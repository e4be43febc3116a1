"""Task definitions of a user's own, with rows beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.contracts.specs import EvaluationSpec, TaskSpec

NAME = "house_task"
DEFINITION = """\
task: house_task
dataset_path: json
dataset_kwargs:
  data_files:
    test: rows.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{q}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{gold}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""
CODED = DEFINITION.replace('"Question: {{q}}\\nAnswer:"', "!function utils.ask").replace(
    "{{gold}}", "{{gold}}"
)


def rows(first: int = 11, count: int = 6) -> list[dict[str, Any]]:
    return [
        {"q": f"What is {n} + 7?", "choices": [str(n + 7), str(n + 8)], "gold": 0}
        for n in range(first, first + count)
    ]


def write(folder: Path, definition: str = DEFINITION, **files: str) -> Path:
    """Write a folder of definitions; `files` are further files by name, `_` for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "house_task.yaml").write_text(definition)
    write_rows(folder / "rows.jsonl", rows())
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)
    return folder


def write_rows(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))


def own(folder: Path, *names: str, **fields: Any) -> EvaluationSpec:
    return EvaluationSpec(
        tasks=tuple(TaskSpec(name=name) for name in names or (NAME,)),
        include_path=str(folder),
        **fields,
    )
