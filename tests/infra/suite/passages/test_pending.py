"""A task that waits for its passages is known, and no model is asked it before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.suite.passages.pending import pending, require_retrieved
from tests.infra.suite.own.test_documents import COSTS, NONE, files


def test_only_a_file_whose_settings_name_a_folder_waits(tmp_path: Path) -> None:
    waiting = files(tmp_path, COSTS, NONE)
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps(COSTS | {"retrieved": []}))
    spec = EvaluationSpec(
        tasks=(
            TaskSpec(name="gsm8k"),
            TaskSpec(name="mine", file=str(waiting)),
            TaskSpec(name="other", file=str(other)),
        )
    )
    assert [task.name for task in pending(spec)] == ["mine"]
    waiting.with_suffix(".yaml").write_text("documents: [")  # whoever reads it says what is wrong
    assert pending(spec) == []


def test_no_model_is_asked_a_task_whose_passages_were_not_retrieved(tmp_path: Path) -> None:
    waiting = TaskSpec(name="mine", file=str(files(tmp_path, COSTS, NONE)))
    with pytest.raises(EvaluationError, match="mine cannot be asked: nothing was retrieved"):
        require_retrieved(EvaluationSpec(tasks=(TaskSpec(name="gsm8k"), waiting)))
    require_retrieved(EvaluationSpec(tasks=(TaskSpec(name="gsm8k"),)))
