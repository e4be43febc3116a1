"""What failed checks mean, and whether they stop the run."""

from __future__ import annotations

from collections.abc import Sequence

from infra.contracts.errors import BrokenCheckpoint
from infra.contracts.progress import Progress
from infra.contracts.records import Check, Checkpoint
from infra.probes.triage import findings, served

_WARNINGS = {served.KERNEL}
"""Checks that are reported and do not stop: they are about speed and not about answers."""

_AGAIN = "Remove {path}, so that it is quantized again. If that gives the same, "
_DATA = "look at the calibration data: rendered conversations of the kind the model will be asked"

_READY_MADE = (
    "Compare its files with those of where it comes from, and download or copy it again. If they "
    "are the same, tell who made it, or take another checkpoint."
)
"""What to do about a checkpoint that came as it is."""

_OTHER_WEIGHTS = (
    "Its weights are others than the baseline's, and nobody quantized them: it was trained to "
    "answer otherwise, or its files are damaged."
)
"""Why a fine-tune answers as it does."""

_SAME_WEIGHTS = (
    "The candidate serves the baseline's own weights: the engine's options, its kernels or its "
    "version give these answers.",
    "Set its serving back to the baseline's, one field at a time: that shows which it is.",
)
"""Why one answers that only the engine serves otherwise, and what to do."""

_CAUSES = {
    findings.FINITE: (
        "A number left float16's range while the model was quantized, or the file was damaged.",
        _AGAIN + _DATA + ", none of them degenerate.",
    ),
    findings.SHAPES: (
        "The checkpoint was packed with another recipe than its config.json names.",
        _AGAIN + "it is a fault of the quantizer.",
    ),
    findings.COMPLETE: (
        "The quantizer did not save these layers, or saved them under other names.",
        _AGAIN + "it is a fault of the quantizer with this kind of model.",
    ),
    findings.SCALES: (
        "Scales were zeroed or damaged: the layers give nothing, or noise.",
        _AGAIN + _DATA + ".",
    ),
    findings.WEIGHTS: (
        "Layers were exchanged, misnamed or filled with other weights than the baseline's.",
        _AGAIN + "it is a fault of the quantizer with this kind of model.",
    ),
    findings.SIZE: (
        "Layers that should have four bits were left in sixteen, or the other way round.",
        _AGAIN + "it is a fault of the quantizer with this kind of model.",
    ),
    served.CALIBRATION: (
        "The calibration conversations are noise to the model: garbage, a wrong field or "
        "encoding, or a language it does not know.",
        "Correct quantization.calibration.",
    ),
    served.AGREEMENT: (
        "The engine loaded layers wrongly or exchanged, or it was calibrated on text unlike any "
        "that the model reads.",
        _AGAIN + _DATA + ".",
    ),
    served.EMPTY: ("Weights are damaged so far that the model ends at once.", _AGAIN + _DATA + "."),
    served.LOOPS: ("Weights are damaged: the model repeats itself.", _AGAIN + _DATA + "."),
    served.ENDLESS: ("Weights are damaged: the model finds no end.", _AGAIN + _DATA + "."),
}
"""Check → probable cause, and what to do. Of several the first one here is given: it is the most
particular."""


_ABOUT_ANSWERS = {served.AGREEMENT, served.EMPTY, served.LOOPS, served.ENDLESS}


def stop_if_broken(
    checks: Sequence[Check],
    checkpoint: Checkpoint,
    progress: Progress,
    *,
    baseline: str | None = None,
) -> None:
    """Raise if a check failed that means that an evaluation would be wasted.

    Args:
        checks: What was found.
        checkpoint: What they are about. One that came as it is is nobody's to remove here.
        progress: Receives a check that failed without stopping.
        baseline: Digest of what the baseline serves; none if that is not known yet.

    Raises:
        BrokenCheckpoint: It names every failed check.
    """
    failed = [check for check in checks if not check.ok]
    for check in failed:
        if check.name in _WARNINGS:
            progress.say(f"triage: {check.name} is {check.value}, not {check.wanted}")
    failed = [check for check in failed if check.name not in _WARNINGS]
    if not failed:
        return
    path, same = checkpoint.path, checkpoint.digest == baseline
    first = min((check.name for check in failed), key=list(_CAUSES).index)
    cause, remedy = _probably(first, checkpoint, same=same)
    lines = [f"- {check.name}: {check.value} (wanted: {check.wanted})" for check in failed]
    rounded = checkpoint.quantization_config and not same
    what = "The quantized checkpoint" if rounded else "The candidate served from"
    fact = f"{what} {path} is not worth an evaluation:"
    raise BrokenCheckpoint(
        "\n".join([fact, *lines]),
        cause=cause,
        remedy=f"{remedy.format(path=path)} "
        "With evaluation.triage.enabled=false it is evaluated all the same.",
        checks=tuple(check.name for check in failed),
    )


def _probably(check: str, checkpoint: Checkpoint, *, same: bool) -> tuple[str, str]:
    """Return the probable cause of a failed check, and what to do.

    Args:
        check: Its name.
        checkpoint: What it is about.
        same: The baseline serves the same files.
    """
    cause, remedy = _CAUSES[check]
    if same and check in _ABOUT_ANSWERS:
        return _SAME_WEIGHTS
    if checkpoint.made is None and remedy.startswith(_AGAIN):
        remedy = _READY_MADE
        if check in _ABOUT_ANSWERS and checkpoint.quantization_config is None:
            cause = _OTHER_WEIGHTS
    return cause, remedy
