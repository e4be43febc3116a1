"""What stops before anything is quantized, once the model is here."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect import flow

from deployments.recipes import sample
from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.records import ArmResult, Checkpoint, PythonEnvironment, Weights
from infra.contracts.specs import RunSpec, ServingChanges
from infra.models.weights import as_it_came, inspect_local
from infra.store.run_folder import RunFolder, open_run
from infra.store.settings import Settings
from tasks.evaluate_arm import evaluate_arm
from tasks.quantize import quantize
from tests.broken_checkpoints import SAMPLE

pytestmark = pytest.mark.usefixtures("prefect")


@flow
def quantizing(
    weights: Weights, spec: RunSpec, environment: PythonEnvironment, run: RunFolder
) -> Checkpoint:
    candidate = spec.candidates[0]
    assert candidate.quantization
    return quantize(candidate.name, weights, candidate.quantization, spec, environment, run)


@flow
def evaluating(
    weights: Weights, spec: RunSpec, environment: PythonEnvironment, run: RunFolder
) -> ArmResult:
    return evaluate_arm(spec.candidates[0].name, as_it_came(weights), spec, environment, run)


def test_what_is_refused_is_named_where_the_candidate_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    spec = sample()
    (made,) = spec.candidates
    made = made.model_copy(update={"serving": ServingChanges(max_model_len=192)})
    spec = spec.model_copy(update={"candidates": (made,)})
    settings = Settings(cache=tmp_path / "cache", runs=tmp_path / "runs")
    run = open_run(spec, settings, created=datetime.now(UTC), key="a-key")
    weights = inspect_local(SAMPLE, settings=settings, progress=Silent())
    nowhere = PythonEnvironment(
        name="none", python=tmp_path / "no-python", digest="none", provided=True
    )
    field = f"candidates.{made.name}.serving.max_model_len"
    for stage in (quantizing, evaluating):
        with pytest.raises(EvaluationError) as refused:
            stage(weights, spec, nowhere, run)
        assert f"but {field} is 192" in refused.value.fact


def test_tasks_that_the_downloaded_template_refuses_stop_before_the_quantizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    shutil.copytree(SAMPLE, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    spec = sample()
    changes = {"chat_template": True, "system_instruction": "Be brief."}
    spec = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update=changes)})
    settings = Settings(cache=tmp_path / "cache", runs=tmp_path / "runs")
    run = open_run(spec, settings, created=datetime.now(UTC), key="a-key")
    weights = inspect_local(folder, settings=settings, progress=Silent())
    nowhere = PythonEnvironment(
        name="none", python=tmp_path / "no-python", digest="none", provided=True
    )
    with pytest.raises(EvaluationError, match="refuses the system message") as refused:
        quantizing(weights, spec, nowhere, run)
    assert "no system role" in refused.value.cause
    assert refused.value.remedy == "Leave evaluation.system_instruction empty."
    assert not (tmp_path / "cache" / "checkpoints").exists()
