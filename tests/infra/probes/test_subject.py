from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.specs import (
    ArmSpec,
    CandidateSpec,
    EvaluationSpec,
    ModelSpec,
    RunSpec,
    TaskSpec,
)
from tests.infra.probes.subjects import checkpoint_at, subject_of


@pytest.mark.parametrize(
    ("tokenizer", "baseline", "candidate", "trusted"),
    [
        ("own", True, False, False),
        ("own", False, True, True),
        # Code of the baseline's repository is not trusted because the candidate's is.
        ("baseline", False, True, False),
        ("baseline", True, False, True),
    ],
)
def test_a_tokenizer_is_trusted_as_the_model_that_it_comes_with(
    tmp_path: Path, tokenizer: str, baseline: bool, candidate: bool, trusted: bool
) -> None:
    evaluation = {"tasks": [TaskSpec(name="gsm8k")], "tokenizer": tokenizer}
    spec = RunSpec(
        baseline=ArmSpec(model=ModelSpec(id="org/model", trust_remote_code=baseline)),
        candidates=(
            CandidateSpec(
                name="ready-made", model=ModelSpec(id="org/other", trust_remote_code=candidate)
            ),
        ),
        evaluation=EvaluationSpec.model_validate(evaluation),
    )
    subject = subject_of(spec, checkpoint_at(tmp_path), tmp_path, "ready-made")
    assert subject.trusts_tokenizer is trusted
    assert subject_of(spec, checkpoint_at(tmp_path), tmp_path).trusts_tokenizer is baseline


def test_what_decides_its_answers_is_its_identity(tmp_path: Path) -> None:
    spec = RunSpec(
        baseline=ArmSpec(model=ModelSpec(id="org/model")),
        candidates=(CandidateSpec(name="other", model=ModelSpec(id="org/other")),),
        evaluation=EvaluationSpec(tasks=(TaskSpec(name="gsm8k"),)),
    )

    def identity(name: str, *conditions: object, folder: Path = tmp_path) -> str:
        return subject_of(
            spec, checkpoint_at(folder), folder, name, conditions=conditions
        ).identity  # fmt: skip

    assert identity("baseline", "a") == identity("other", "a", folder=tmp_path / "elsewhere")
    assert identity("baseline", "a") != identity("baseline", "a", "b")
