"""What a candidate changes over the baseline, and what is no change."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from infra.contracts.specs import (
    ArmSpec,
    AwqSpec,
    CalibrationSpec,
    CandidateSpec,
    EvaluationSpec,
    ModelSpec,
    RunSpec,
    ServingChanges,
    ServingSpec,
    TaskSpec,
    VerdictSpec,
)

BASELINE = ArmSpec(
    model=ModelSpec(id="org/model"),
    serving=ServingSpec(
        dtype="bfloat16",
        max_model_len=2048,
        enforce_eager=True,
        extra_args=("--max-num-seqs", "64"),
        variables={"VLLM_ATTENTION_BACKEND": "FLASHINFER"},
    ),
)
RECIPE = AwqSpec(calibration=CalibrationSpec(path="talks.jsonl"))


def run(*candidates: CandidateSpec, baseline: ArmSpec = BASELINE) -> RunSpec:
    return RunSpec(
        baseline=baseline,
        candidates=candidates,
        evaluation=EvaluationSpec(tasks=(TaskSpec(name="gsm8k"),)),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "float16"},
        {"enforce_eager": False},
        {"extra_args": ()},
        {"variables": {}},
        {"extra_args": ("--kv-cache-dtype", "fp8")},
        {"python": "/opt/engine/bin/python", "tensor_parallel_size": 2},
    ],
)
def test_a_change_is_put_in_the_place_of_the_baseline_s_and_the_rest_stays(
    changes: dict[str, Any],
) -> None:
    one = CandidateSpec(name="served-otherwise", serving=ServingChanges(**changes))
    spec = run(one)
    arm = spec.arms[one.name]
    assert arm == BASELINE.model_copy(update={"serving": BASELINE.serving.model_copy(
        update=changes
    )})  # fmt: skip
    assert one.serving is not None
    assert one.serving.changed == changes
    again = RunSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.arms == spec.arms


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"serving": {}},
        {"serving": {"dtype": None}},
        {"serving": {"dtype": "bfloat16"}},
        {"serving": {"max_model_len": 2048, "extra_args": ["--max-num-seqs", "64"]}},
        {"model": {"id": "org/model"}},
        {"model": {"id": "org/model"}, "serving": {"enforce_eager": True}},
    ],
)
def test_a_candidate_that_changes_nothing_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Candidate same changes nothing") as refused:
        run(CandidateSpec.model_validate({"name": "same", **fields}))
    assert "evaluation.noise_floor" in str(refused.value)


def test_a_candidate_may_undo_what_the_baseline_does() -> None:
    """The model as it is, beside a baseline that is made here."""
    made = BASELINE.model_copy(update={"quantization": RECIPE})
    plain = CandidateSpec(name="plain", model=BASELINE.model)
    assert run(plain, baseline=made).arms["plain"] == BASELINE
    with pytest.raises(ValidationError, match="changes nothing"):
        run(CandidateSpec(name="again", quantization=RECIPE), baseline=made)


def test_what_a_candidate_leaves_out_is_as_in_the_baseline_also_how_it_is_made() -> None:
    made = BASELINE.model_copy(update={"quantization": RECIPE})
    served = CandidateSpec(name="served", serving=ServingChanges(dtype="float16"))
    arm = run(served, baseline=made).arms["served"]
    assert arm.quantization == RECIPE
    assert arm.model == BASELINE.model
    assert arm.serving.dtype == "float16"


def test_the_calibration_sets_of_all_arms_are_named_once() -> None:
    other = AwqSpec(calibration=CalibrationSpec(path="others.jsonl"))
    spec = run(
        CandidateSpec(name="one", quantization=RECIPE),
        CandidateSpec(name="two", quantization=RECIPE.model_copy(update={"group_size": 64})),
        CandidateSpec(name="three", quantization=other),
    )
    assert [one.path for one in spec.calibrations] == ["talks.jsonl", "others.jsonl"]
    assert spec.probe_conversations == RECIPE.calibration
    own = spec.model_copy(update={"conversations": CalibrationSpec(path="mine.jsonl")})
    assert own.probe_conversations == own.conversations
    assert run(
        CandidateSpec(name="served", serving=ServingChanges(dtype="float16"))
    ).probe_conversations is None  # fmt: skip


def test_a_candidate_is_held_against_another_that_there_is() -> None:
    half = CandidateSpec(name="half", serving=ServingChanges(dtype="float16"))
    made = CandidateSpec(name="made", quantization=RECIPE, against="half")
    assert run(half, made).candidates[1].against == "half"
    for named in ("made", "other", "baseline"):
        wrong = made.model_copy(update={"against": named})
        with pytest.raises(ValidationError, match=rf"candidates\.made\.against is '{named}'") as no:
            run(half, wrong)
        assert "Name one of half" in str(no.value)
    with pytest.raises(ValidationError, match=r"against with verdict\.early_stop"):
        RunSpec(
            **run(half, made).model_dump(exclude={"verdict"}), verdict=VerdictSpec(early_stop=True)
        )
    with pytest.raises(ValidationError, match="changes nothing"):
        CandidateSpec(name="made", against="half")
