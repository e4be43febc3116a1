from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.errors import EvaluationError
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import catalog
from tests.infra.suite.harness.own_tasks import DEFINITION, NAME, write


def test_a_file_that_is_included_twice_is_refused(tmp_path: Path) -> None:
    """lm-eval passes over such a definition, and then knows no such task."""
    folder = write(tmp_path / "tasks", "include: [a.yaml, b.yaml]\ntask: house_task\n")
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text("include: base.yaml\n")
    (folder / "base.yaml").write_text(DEFINITION.replace("task: house_task\n", ""))
    with pytest.raises(EvaluationError, match="or one file twice"):
        catalog(str(folder), settings=Settings()).entries([NAME])


def test_a_broken_definition_of_a_name_that_lm_eval_knows_is_refused(tmp_path: Path) -> None:
    """Else lm-eval's own task would take its place."""
    text = DEFINITION.replace("task: house_task", "task: gsm8k") + "broken: [\n"
    folder = write(tmp_path / "tasks", text)
    with pytest.raises(EvaluationError, match="is no YAML"):
        catalog(str(folder), settings=Settings()).entries(["gsm8k"])
    assert catalog(str(folder), settings=Settings()).entries(["gsm8k_cot"])
