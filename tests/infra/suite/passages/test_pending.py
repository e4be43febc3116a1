"""A task that waits for its passages is known, and no model is asked it before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.passages.pending import pending
from tests.conftest import ROOT
from tests.infra.suite.harness.completions_server import Completions, serving
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_no_model_is_asked_a_task_whose_passages_were_not_retrieved(tmp_path: Path) -> None:
    spec = EvaluationSpec(tasks=(TaskSpec(name="mine", file=str(files(tmp_path, COSTS, NONE))),))
    suite = kind_of(spec).prepare(spec, settings=Settings(cache=tmp_path / "c"), progress=Silent())
    with serving(Completions()) as server:
        with pytest.raises(EvaluationError, match="nothing was retrieved"):
            suite.ask("mine", server, ROOT / "infra/sample/model", tmp_path / "s", Silent())
        assert server.requests == []
