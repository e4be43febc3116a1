"""Tasks whose passages are retrieved before they are asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from infra.contracts.specs import EvaluationSpec
from infra.preflight.findings import Finding, note
from infra.suite.own.beside import read_beside
from infra.suite.own.documents import DOCUMENTS
from infra.suite.passages.pending import pending
from infra.suite.port import Line


def look_at(spec: EvaluationSpec, lines: list[Line]) -> Iterator[Finding]:
    """Say what will stand before the questions of a task that can be asked so far.

    Args:
        spec: The tasks and their conditions.
        lines: What was found of them; tasks that are wrong have their own line.
    """
    whole = {line.spec.name for line in lines}
    for task in pending(spec):
        if task.name in whole and task.file:
            _, options = read_beside(Path(task.file).expanduser().absolute(), DOCUMENTS)
            yield note(
                "passages",
                f"{task.name}: {options['library']} finds the best {options['top_k']} for each "
                "question before any model is asked; until then its prompts are looked at with a "
                "row's own passages and others, as many as will be found",
            )
