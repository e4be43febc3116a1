from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.specs import ArmSpec, EvaluationSpec, ModelSpec, ServingSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite.prompt_check import check_prompts
from tests.conftest import ROOT
from tests.infra.suite.harness.conftest import Heard, evaluation

SAMPLE = ROOT / "infra" / "sample" / "model"


def checked(spec: EvaluationSpec, window: int | None, tmp_path: Path) -> list[str]:
    arm = ArmSpec(
        model=ModelSpec(id=str(SAMPLE), source="local"),
        serving=ServingSpec(max_model_len=window),
    )
    settings = Settings(cache=tmp_path / "cache", runs=tmp_path / "runs")
    check_prompts(spec, arm, SAMPLE, SAMPLE, settings=settings, progress=(heard := Heard()))
    return heard.said


def test_prompts_are_held_against_the_window_of_the_arm_or_of_the_model(tmp_path: Path) -> None:
    spec = evaluation(TaskSpec(name="gsm8k", limit=2, num_fewshot=2, max_gen_toks=16))
    assert [said for said in checked(spec, None, tmp_path) if said.startswith("BOS: ")]
    with pytest.raises(EvaluationError, match=r"serving\.max_model_len is 64") as refused:
        checked(spec, 64, tmp_path)
    assert "lower num_fewshot" in refused.value.remedy
