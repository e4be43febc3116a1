"""Before a server is started, a model's template is seen to show functions, and chats to fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import AssayError
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.port import PromptCheck
from tests.conftest import ROOT

MODELS = ROOT / "infra" / "sample"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ROW = {
    "question": "How warm is it in Rome?",
    "tools": [{"name": "weather", "description": "The weather in a city.", "parameters": CITY}],
    "must_call": [{"name": "weather", "arguments": {"city": "Rome"}}],
}


def looked_at(tmp_path: Path, model: Path, window: int = 2048, **fields: Any) -> PromptCheck:
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(ROW) + "\n")
    spec = EvaluationSpec.model_validate(
        {"tasks": [{"name": "mine", "file": str(file)}], "chat_template": True, **fields}
    )
    return kind_of(spec).prompts(
        spec, model, window=window, trust_remote_code=False,
        settings=Settings(cache=tmp_path / "cache"), progress=Silent(),
    )  # fmt: skip


def problems(*given: Any, **fields: Any) -> list[AssayError]:
    return looked_at(*given, **fields).problems


@pytest.mark.parametrize("chat", [True, False])
def test_a_template_that_shows_them_is_fine(tmp_path: Path, chat: bool) -> None:
    said = {"chat_template": chat, "system_instruction": "Be brief."}
    assert problems(tmp_path, MODELS / "assistant", **said) == []


def test_a_template_that_passes_over_them_is_refused(tmp_path: Path) -> None:
    (error,) = problems(tmp_path, MODELS / "model")
    assert "does not show the functions of mine: weather" in error.fact
    assert "chat_template.jinja" in error.remedy


def test_a_template_that_fails_is_refused(tmp_path: Path) -> None:
    model = shutil.copytree(MODELS / "assistant", tmp_path / "model")
    (model / "chat_template.jinja").write_text("{{ raise_exception('no functions here') }}")
    (error,) = problems(tmp_path, model)
    assert "no functions here" in error.fact


def test_a_chat_that_does_not_fit_the_window_is_refused(tmp_path: Path) -> None:
    (error,) = problems(tmp_path, MODELS / "assistant", window=300)
    assert "and 256 for the answer, but serving.max_model_len is 300" in error.fact
    assert "tools.offered" in error.remedy


def test_a_template_that_writes_the_date_is_spoken_of(tmp_path: Path) -> None:
    assert looked_at(tmp_path, MODELS / "assistant").unread == ""
    model = shutil.copytree(MODELS / "assistant", tmp_path / "model")
    template = json.loads((model / "tokenizer_config.json").read_text())["chat_template"]
    (model / "chat_template.jinja").write_text("{{ strftime_now('%d %B') }}" + template)
    assert "the server's own" in looked_at(tmp_path, model).unread
