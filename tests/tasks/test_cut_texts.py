"""A run of pairs that are longer than the baseline's window: cut once, and the same for all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.contracts.specs import ArmSpec, ServingSpec, TaskSpec
from infra.suite.rows import read_rows
from tests import stand_in_interpreter
from tests.conftest import ROOT
from tests.infra.stages.conftest import SAMPLE_MODEL
from tests.tasks.test_evaluation import HALF, folder, run

pytestmark = pytest.mark.usefixtures("prefect")

WINDOW = 400
LONG = {"prompt": "Which is longer?", "response_a": "word " * 900, "response_b": "4",
        "winner": "a"}  # fmt: skip
SHORT = {"prompt": "2 + 2?", "response_a": "5", "response_b": "4", "winner": "b"}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ASSAY_SERVER_PYTHON", str(stand_in_interpreter.write(tmp_path)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


def test_all_arms_are_asked_the_same_words_that_fit(tmp_path: Path) -> None:
    file = tmp_path / "judge.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in (SHORT, LONG)))
    report = run(
        tmp_path,
        HALF,
        baseline=ArmSpec(
            model=SAMPLE_MODEL, serving=ServingSpec(device="cpu", max_model_len=WINDOW)
        ),
        chat={"tasks": (TaskSpec(name="judge", file=str(file)),)},
    )
    place = folder(tmp_path, report)
    asked = {
        arm: [row.prompt for row in read_rows(place / result.tasks["judge"].samples, "judge")]
        for arm, result in report.arms.items()
    }
    assert asked["baseline"] == asked["half"]
    assert ["[…]" in prompt for prompt in asked["baseline"]] == [False, False, True, True]
    assert report.provenance["cut texts of judge"] == (
        "judge: 1 of 2 pairs lost words, by the baseline's tokenizer and window"
    )
    assert "cut-texts" in report.timings
