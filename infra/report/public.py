"""A run as strangers may read of it: of a file or folder of this machine only its name."""

from __future__ import annotations

from pathlib import PurePath

from infra.contracts.records import ArmResult, Pair
from infra.contracts.specs import CandidateSpec, ModelSpec, RunSpec, ServingChanges


def public(pair: Pair) -> Pair:
    """Return a candidate beside the baseline, without folders of this machine.

    Where a model, conversations, texts or an interpreter lie here, their last name stands for them.
    """
    report, judgement = pair.report, pair.judgement
    comparison = judgement.comparison
    texts = pair.spec.fidelity.texts
    if comparison.fidelity and texts:
        named = comparison.fidelity.texts.replace(texts, _name(texts))
        fidelity = comparison.fidelity.model_copy(update={"texts": named})
        comparison = comparison.model_copy(update={"fidelity": fidelity})
    # Why earlier runs could not be compared with is an error of this machine.
    judgement = judgement.model_copy(update={"comparison": comparison, "not_compared": ""})
    changes = {
        "spec": _spec(pair.spec),
        "arms": {name: _arm(arm) for name, arm in report.arms.items()},
        "judged": {**report.judged, pair.name: judgement},
    }
    return Pair(report.model_copy(update=changes), pair.name)


def _spec(spec: RunSpec) -> RunSpec:
    baseline = spec.baseline.model_copy(update={"model": _model(spec.baseline.model)})
    candidates = tuple(_candidate(one) for one in spec.candidates)
    return spec.model_copy(update={"baseline": baseline, "candidates": candidates})


def _candidate(candidate: CandidateSpec) -> CandidateSpec:
    changes = {
        "model": _model(candidate.model) if candidate.model else None,
        "serving": _serving(candidate.serving) if candidate.serving else None,
    }
    return candidate.model_copy(update=changes)


def _model(model: ModelSpec) -> ModelSpec:
    return model.model_copy(update={"id": _name(model.id)}) if model.source == "local" else model


def _serving(serving: ServingChanges) -> ServingChanges:
    changed = serving.changed
    if "extra_args" in changed:
        changed["extra_args"] = tuple(map(_value, changed["extra_args"]))
    if "variables" in changed:
        changed["variables"] = {name: _value(text) for name, text in changed["variables"].items()}
    if "python" in changed:
        changed["python"] = _name(changed["python"])
    return serving.model_copy(update=changed)


def _arm(arm: ArmResult) -> ArmResult:
    card = arm.checkpoint.calibration
    if card is None or card.spec.source != "file":
        return arm
    spec = card.spec.model_copy(update={"path": _name(card.spec.path)})
    calibration = card.model_copy(update={"spec": spec})
    checkpoint = arm.checkpoint.model_copy(update={"calibration": calibration})
    return arm.model_copy(update={"checkpoint": checkpoint})


def _value(argument: str) -> str:
    """Return an argument, `--flag=value` too, without the folders of a path in it."""
    flag, equals, value = argument.rpartition("=")
    return (
        f"{flag}{equals}{_name(value)}" if value.startswith(("/", "~", "./", "../")) else argument
    )


def _name(path: str) -> str:
    return PurePath(path).name or path
