"""Which texts are read is remembered only as long as the choice would come out the same."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from infra.contracts.specs import (
    ArmSpec,
    AwqSpec,
    CalibrationSpec,
    CandidateSpec,
    FidelitySpec,
    ModelSpec,
    RunSpec,
    ServingChanges,
)
from infra.probes.fidelity import ReadingProbe
from tests import tiny_model
from tests.broken_checkpoints import SAMPLE
from tests.infra.probes.subjects import checkpoint_at, subject_of
from tests.infra.suite.harness.conftest import evaluation
from tests.stub_hub import Repo, running

SHARED = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
OTHER = "The capital of the country lies on a river that flows from there to the sea."


def conversations(text: str) -> Repo:
    row = {"messages": [{"role": "user", "content": text}]}
    return Repo({"train.jsonl": (json.dumps(row) + "\n").encode() * 20}, branch="main")


def test_a_calibration_set_whose_branch_moves_leaves_out_other_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts.txt").write_text(f"{SHARED}\n\n{OTHER}\n")
    spec = RunSpec.short(
        model=ModelSpec(source="local", id=str(SAMPLE)),
        quantization=AwqSpec(calibration=CalibrationSpec(source="huggingface", path="our/talks")),
        evaluation=evaluation("gsm8k"),
        fidelity=FidelitySpec(texts=str(tmp_path / "texts.txt"), documents=4, max_tokens=48),
    )

    def count() -> int:
        probe = ReadingProbe(subject_of(spec, checkpoint_at(SAMPLE), tmp_path))
        return len(probe._texts.tokens)

    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repos["datasets/our/talks"] = conversations("something else altogether")
        assert count() == 2
        hub.repos["datasets/our/talks"] = conversations(f"Count: {SHARED}")
        assert count() == 1


def test_texts_are_those_of_whoever_writes_the_prompts(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text(f"{SHARED}\n\n{OTHER}\n")
    own = tiny_model.write(tmp_path / "model")
    spec = RunSpec(
        baseline=ArmSpec(model=ModelSpec(source="local", id=str(SAMPLE))),
        candidates=(
            CandidateSpec(name="ready-made", model=ModelSpec(source="local", id=str(own))),
        ),
        evaluation=evaluation("gsm8k"),
        fidelity=FidelitySpec(texts=str(tmp_path / "texts.txt"), documents=4, max_tokens=48),
    )

    def tokens(arm: str, checkpoint: Path, tokenizer: Path) -> tuple[tuple[int, ...], ...]:
        subject = subject_of(
            spec, checkpoint_at(checkpoint, arm), tmp_path, arm, tokenizer=tokenizer
        )
        return ReadingProbe(subject)._texts.tokens

    baseline = tokens("baseline", SAMPLE, SAMPLE)
    assert tokens("ready-made", own, own) != baseline
    assert tokens("ready-made", own, SAMPLE) == baseline


@pytest.mark.parametrize("changed", ["transformers", "tokenizers", "trust"])
def test_texts_are_cut_anew_by_another_tokenizer(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts.txt").write_text(f"{SHARED}\n\n{OTHER}\n")

    def kept(*, trust: bool = False) -> set[Path]:
        model = ModelSpec(source="local", id=str(SAMPLE), trust_remote_code=trust)
        spec = RunSpec(
            baseline=ArmSpec(model=model),
            candidates=(CandidateSpec(name="eager", serving=ServingChanges(enforce_eager=True)),),
            evaluation=evaluation("gsm8k"),
            fidelity=FidelitySpec(texts=str(tmp_path / "texts.txt"), documents=4, max_tokens=48),
        )
        probe = ReadingProbe(subject_of(spec, checkpoint_at(SAMPLE), tmp_path))
        assert len(probe._texts.tokens) == 2
        return set((tmp_path / "cache" / "readings" / "texts").iterdir())

    before = kept()
    assert kept() == before
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0" if name == changed else version(name)
    )
    assert len(kept(trust=changed == "trust")) == len(before) + 1
