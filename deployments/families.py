"""Matrices: named functions that return a full MatrixSpec. Add yours here."""

from __future__ import annotations

from collections.abc import Callable

from deployments.recipes import qwen2_5_7b_instruct, sample, sample_awq
from infra.contracts.specs import (
    CandidateSpec,
    MatrixModelSpec,
    MatrixSpec,
    ModelSpec,
    ResultsSpec,
    SpeedSpec,
    TaskSpec,
)

Matrix = Callable[[], MatrixSpec]


def qwen2_5_family() -> MatrixSpec:
    """Six models of Qwen2.5 on global_mmlu_en: three as they come, three quantized by their makers.

    The AWQ checkpoints of 7B and 14B are held against their originals; 32B is too large for one GPU
    of 80 GB beside its cache, so its checkpoint stands alone.
    """
    shared = qwen2_5_7b_instruct()
    return MatrixSpec(
        models=(
            _qwen("3B"),
            _qwen("7B-Instruct", ready="7B-Instruct-AWQ"),
            _qwen("14B-Instruct", ready="14B-Instruct-AWQ"),
            _qwen("32B-Instruct-AWQ"),
        ),
        serving=shared.baseline.serving,
        evaluation=shared.evaluation.model_copy(
            update={"tasks": (TaskSpec(name="global_mmlu_en", num_fewshot=5),)}
        ),
        fidelity=shared.fidelity,
        speed=shared.speed,
        verdict=shared.verdict.model_copy(update={"if_unresolvable": "widen"}),
        results=ResultsSpec(label="qwen2-5-family"),
    )


def sample_family() -> MatrixSpec:
    """The sample model and checkpoints of it in one table: minutes on two cores, no GPU, no hub."""
    shared = sample()
    made = shared.candidates[0]
    return MatrixSpec(
        models=(
            MatrixModelSpec(
                name="sample",
                model=shared.baseline.model,
                candidates=(
                    made,
                    CandidateSpec(name="ready-made", model=sample_awq()),
                ),
            ),
            MatrixModelSpec(name="sample-awq", model=sample_awq()),
        ),
        serving=shared.baseline.serving,
        evaluation=shared.evaluation.model_copy(
            update={"tasks": (TaskSpec(name="global_mmlu_en", limit=12),)}
        ),
        fidelity=shared.fidelity,
        speed=SpeedSpec(input_tokens=(128,), output_tokens=16, concurrencies=(4,), requests=8),
        verdict=shared.verdict,
        results=ResultsSpec(label="sample-family"),
    )


def _qwen(name: str, ready: str | None = None) -> MatrixModelSpec:
    def model(name: str) -> ModelSpec:
        return ModelSpec(source="modelscope", id=f"Qwen/Qwen2.5-{name}")

    candidates = (CandidateSpec(name="awq", model=model(ready)),) if ready else ()
    return MatrixModelSpec(model=model(name), candidates=candidates)


MATRICES: dict[str, Matrix] = {
    "qwen2.5-family": qwen2_5_family,
    "sample-family": sample_family,
}
"""Every matrix by the name used on the command line."""
