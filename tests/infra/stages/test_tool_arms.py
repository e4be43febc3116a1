"""What reads calls out of answers is in the key of tasks with functions, and of no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from infra.contracts.errors import Unservable
from infra.contracts.records import Checkpoint
from infra.contracts.specs import ServingSpec, TaskSpec
from infra.models.weights import as_it_came, inspect_local
from infra.store.settings import Settings
from infra.suite.own.tools import KIND
from tests.conftest import ROOT
from tests.infra.stages.conftest import TASKS, Evaluate, make_spec


@pytest.fixture
def assistant(tmp_path: Path) -> Checkpoint:
    folder = shutil.copytree(ROOT / "infra" / "sample" / "assistant", tmp_path / "assistant")
    return as_it_came(inspect_local(folder, settings=Settings(cache=tmp_path / "weights")))


def spec_with(tmp_path: Path, **serving: object) -> object:
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in KIND.example))
    tasks = (TASKS[0], TaskSpec(name="mine", file=str(file)))
    spec = make_spec(conditions={"tasks": tasks})
    changed = ServingSpec.model_validate({**spec.baseline.serving.model_dump(), **serving})
    baseline = spec.baseline.model_copy(update={"serving": changed})
    return spec.model_copy(update={"baseline": baseline})


def test_another_parser_asks_tasks_with_functions_again_and_no_others(
    evaluate: Evaluate, assistant: Checkpoint, tmp_path: Path
) -> None:
    alone = evaluate("alone", model=assistant, conditions={"tasks": TASKS[:1]})
    assert alone.server.tool_parser is None
    assert "--tool-call-parser" not in alone.server.command
    first = evaluate("first", model=assistant, spec=spec_with(tmp_path))
    assert {name: task.reused for name, task in first.tasks.items()} == {
        "gsm8k": True, "mine": False
    }  # fmt: skip
    assert first.server.tool_parser == "hermes"
    assert first.server.command[-3:] == (
        "--enable-auto-tool-choice",
        "--tool-call-parser",
        "hermes",
    )
    again = evaluate("again", model=assistant, spec=spec_with(tmp_path))
    assert all(task.reused for task in again.tasks.values())
    other = evaluate("other", model=assistant, spec=spec_with(tmp_path, tool_parser="qwen3_coder"))
    assert {name: task.reused for name, task in other.tasks.items()} == {
        "gsm8k": True, "mine": False
    }  # fmt: skip
    assert other.server.tool_parser == "qwen3_coder"


def test_a_template_without_functions_takes_no_accelerator(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    with pytest.raises(Unservable, match="writes no functions"):
        evaluate("run", spec=spec_with(tmp_path))
    assert not (tmp_path / "run" / "logs").exists()
