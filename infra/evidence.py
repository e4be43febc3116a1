"""Everything a run compares: the exam row by row, the noise floor, what the models expect next."""

from __future__ import annotations

from pathlib import Path

from infra import asked, comparison, fidelity, noise
from infra.calibration import load_tokenizer
from infra.contracts.records import ArmResult, Comparison
from infra.contracts.specs import RunSpec
from infra.fidelity.lengths import lengths


def compare(
    base: ArmResult, quantized: ArmResult, again: ArmResult | None, spec: RunSpec, folder: Path
) -> Comparison:
    """Return the whole comparison.

    Args:
        base: The arm as it came.
        quantized: The arm that was quantized.
        again: A second sitting of the base arm, where a noise floor is wanted.
        spec: What was asked.
        folder: The run's folder, which holds rows and readings of all of them.

    Raises:
        ComparisonError: The arms did not sit the same exam, or read different texts.
    """
    whole = base
    if spec.verdict.early_stop:
        base = asked.asked_of(whole, quantized, folder)
    exam = comparison.compare(base, quantized, folder, spec.verdict.confidence)
    if spec.verdict.early_stop:
        pooled = asked.pooled(base, quantized, exam, folder)
        exam = exam.model_copy(update={"pooled": pooled})
    tokenizer = load_tokenizer(base.checkpoint.path, trust_remote_code=spec.model.trust_remote_code)
    return exam.model_copy(
        update={
            "noise": noise.floor(whole, again, folder) if again else None,
            "fidelity": (
                fidelity.compare(base.reading, quantized.reading, folder)
                if base.reading and quantized.reading
                else None
            ),
            "lengths": lengths(base, quantized, folder, tokenizer),
        }
    )
