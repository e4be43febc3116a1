"""Whether first questions fit a model: its window, and the tokens that it knows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.specs import EvaluationSpec
from infra.conversations.calibration import load_tokenizer
from infra.suite.harness.questions.prompts import look
from infra.suite.harness.questions.question import Prompt, Questions
from infra.suite.port import PromptCheck
from tests.conftest import ROOT

SAMPLE = ROOT / "infra" / "sample" / "model"


def looked_at(folder: Path, context: str = "A train", answer: int = 0, **given: Any) -> PromptCheck:
    suite = [
        Questions(
            task="trains",
            line="trains",
            conversations={},
            prompts=(Prompt(context=context, continuation="", answer=answer),),
        )
    ]
    spec = EvaluationSpec.model_validate({"tasks": [{"name": "trains"}]})
    return look(suite, folder, spec, **{"window": 64, **given})


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """The sample with tokens that were added to its tokenizer alone, one of them its BOS."""
    tokenizer = load_tokenizer(shutil.copytree(SAMPLE, tmp_path / "model"))
    tokenizer.add_tokens(["<|tool|>"])
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_question_with_a_token_that_the_model_does_not_know(grown: Path) -> None:
    assert not looked_at(grown).problems
    (problem,) = looked_at(grown, "A <|tool|>").problems
    assert isinstance(problem, EvaluationError)
    assert "'<|tool|>', of a prompt of trains" in problem.fact
    assert "vocab_size" in problem.cause


def test_a_question_and_its_answer_fit_the_window_or_not() -> None:
    assert not looked_at(SAMPLE, "a b c d").problems
    (problem,) = looked_at(SAMPLE, "a b c d", answer=62).problems
    assert "and 62 for the answer, but serving.max_model_len is 64" in problem.fact
