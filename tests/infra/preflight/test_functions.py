"""What reads each arm's calls is said, or refused, before an accelerator is taken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from deployments.recipes import sample
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, RunSpec
from infra.preflight import functions, suite
from infra.preflight.findings import Finding
from infra.store.settings import Settings
from infra.suite.own.tools import KIND
from tests.conftest import ROOT

MODELS = ROOT / "infra" / "sample"


def found(tmp_path: Path, folder: Path | None, kind: str = "tools") -> list[Finding]:
    file = tmp_path / "mine.jsonl"
    rows = KIND.example if kind == "tools" else ({"question": "q", "answer": "a"},)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluation = EvaluationSpec.model_validate({"tasks": [{"name": "mine", "file": str(file)}]})
    spec = RunSpec.model_validate(
        sample().model_dump() | {"evaluation": evaluation.model_dump()}
    )  # fmt: skip
    lines = suite.read(evaluation, Settings(cache=tmp_path / "cache"), Silent()).lines
    return functions.look_at(spec, lines, dict.fromkeys(spec.evaluated, folder))


def test_the_parser_is_named_once_for_arms_that_have_the_same(tmp_path: Path) -> None:
    (one,) = found(tmp_path, MODELS / "assistant")
    assert (one.name, one.status) == ("tool parser", "ok")
    assert one.found.startswith("hermes: the chat template writes <tool_call>")


def test_marks_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    model = shutil.copytree(MODELS / "model", tmp_path / "model")
    (model / "chat_template.jinja").write_text("{% for tool in tools %}{{ tool }}{% endfor %}")
    (one,) = found(tmp_path, model)
    assert one.status == "problem"
    assert "Nobody knows what reads calls" in one.found
    assert one.cause and one.remedy


def test_a_template_without_functions_is_spoken_of_where_its_questions_are(tmp_path: Path) -> None:
    assert found(tmp_path, MODELS / "model") == []


def test_of_a_model_that_is_not_here_nothing_is_known(tmp_path: Path) -> None:
    (one,) = found(tmp_path, None)
    assert one.status == "note"


@pytest.mark.parametrize("model", ["assistant", "model"])
def test_without_functions_nothing_is_said(tmp_path: Path, model: str) -> None:
    assert found(tmp_path, MODELS / model, kind="exact") == []
