"""What a task about documents needs is looked at before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.progress import Silent
from infra.contracts.specs import EmbeddingSpec, EvaluationSpec, ModelSpec, TaskSpec
from infra.preflight import passages, suite
from infra.store.settings import Settings
from tests.conftest import ROOT
from tests.infra.suite.own.test_documents import COSTS, NONE, NORTH, files

MODEL = ModelSpec(id=str(ROOT / "infra" / "sample" / "model"), source="local")


def spec_of(file: Path, embedding: EmbeddingSpec | None) -> EvaluationSpec:
    return EvaluationSpec(tasks=(TaskSpec(name="mine", file=str(file)),), embedding=embedding)


def test_a_task_without_anything_that_embeds_is_refused(tmp_path: Path) -> None:
    spec = spec_of(files(tmp_path, COSTS, NONE), None)
    found = suite.read(spec, Settings(cache=tmp_path / "cache"), Silent())
    (problem,) = [one for one in found.findings if one.status == "problem"]
    assert "mine" in problem.found and "evaluation.embedding" in problem.remedy
    assert [*passages.look_at(spec, found.lines)] == []


@pytest.mark.parametrize("wanted", ["docs", ""])
def test_what_will_be_retrieved_is_said(tmp_path: Path, wanted: str) -> None:
    found = {} if wanted else {"retrieved": [NORTH]}
    rows = files(tmp_path, COSTS | found, NONE | found, folder=wanted, top_k=3)
    spec = spec_of(rows, EmbeddingSpec(model=MODEL))
    read = suite.read(spec, Settings(cache=tmp_path / "cache"), Silent())
    assert [one for one in read.findings if one.status == "problem"] == []
    assert [line.embeds for line in read.lines] == [bool(wanted)]
    said = [one.found for one in passages.look_at(spec, read.lines)]
    assert len(said) == bool(wanted)
    assert all("mine: llama-index finds the best 3" in one for one in said)
