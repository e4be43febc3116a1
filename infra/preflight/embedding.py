"""The embedding server: its model is whole and fits beside every arm, or its endpoint answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from infra.contracts.errors import AssayError, EndpointError, NotEnough
from infra.contracts.progress import Progress
from infra.contracts.specs import (
    ArmSpec,
    EmbeddingSpec,
    EndpointSpec,
    EvaluationSpec,
    ModelSpec,
    RunSpec,
)
from infra.contracts.specs.embedding import EMBEDDING_PLACES
from infra.contracts.specs.places import errors_placed, placed
from infra.engines.embeddings import memory_share
from infra.engines.embeddings.checking import vectors_of
from infra.engines.registry import engine_of
from infra.engines.remote.asking import Asker
from infra.engines.remote.budget import Budget
from infra.machine.device import Device, detect
from infra.models.memory_need import GIB, Shape
from infra.models.memory_need import serving as need_of
from infra.preflight import model
from infra.preflight.findings import Finding, look, note, problem
from infra.store.settings import Settings
from infra.suite.passages.pending import pending
from infra.suite.port import Line

_NAME = "embedding"


@dataclass(frozen=True)
class Embedding:
    """What was found."""

    findings: Sequence[Finding] = ()
    to_download: int = 0
    """Bytes."""


def models_of(spec: RunSpec) -> list[ModelSpec]:
    """Return the embedding model, if a run serves one."""
    embedding = spec.evaluation.embedding
    return [embedding.model] if embedding and embedding.model else []


def look_at(
    spec: RunSpec,
    devices: Mapping[str, Device | None],
    settings: Settings,
    progress: Progress,
    lines: Sequence[Line] = (),
) -> Embedding:
    """Look at the embedding model, or ask the endpoint for one vector.

    Args:
        spec: The run.
        devices: Arm → what serves it.
        settings: Where things are kept.
        progress: Hears about what takes long.
        lines: What was found of the tasks.
    """
    embedding = spec.evaluation.embedding
    if embedding is None:
        return Embedding()
    if embedding.endpoint is not None:
        return Embedding([of_endpoint(embedding.endpoint, progress)])
    served = embedding.as_arm
    assert served is not None  # noqa: S101 -- the spec has one of both
    local = served.model.source == "local"
    found = model.here(served, settings, progress) if local else model.on_a_hub(served, settings)
    findings = [_placed(one) for one in found.findings]
    if found.shape is not None and not _alone(spec.evaluation, lines):
        findings.append(look(
            f"{_NAME} beside arms", partial(_beside, spec, embedding, found.shape, devices)
        ))  # fmt: skip
    return Embedding(findings, found.to_download)


def _alone(spec: EvaluationSpec, lines: Sequence[Line]) -> bool:
    """Return whether it is only served before any arm is: where passages are retrieved."""
    before = {task.name for task in pending(spec)}
    return bool(before) and not any(line.embeds and line.spec.name not in before for line in lines)


def of_endpoint(spec: EndpointSpec, progress: Progress) -> Finding:
    """Ask an endpoint for the vector of one text."""

    def check() -> str:
        with (
            errors_placed(EMBEDDING_PLACES),
            closing(Asker(spec, Budget(spec), progress.say)) as asker,
        ):
            body = {"input": ["one"], "encoding_format": "float"}
            answer = asker.post("/embeddings", body, holds="data")
        found = vectors_of(answer, 1)
        word = f"version {spec.version}" if spec.version else "no version: kept for this run alone"
        return f"{spec.model} gives vectors of {found.shape[1]} numbers; {word}"

    return look(_NAME, check)


def unused(spec: EvaluationSpec, lines: Sequence[Line]) -> Iterator[Finding]:
    """Note an embedding server that no task asks."""
    if spec.embedding is not None and lines and not any(line.embeds for line in lines):
        yield note(_NAME, "no task of this run needs vectors: nothing is started for them")


def of_endpoint_run(
    spec: EvaluationSpec, lines: Sequence[Line], progress: Progress
) -> Iterator[Finding]:
    """Look at what embeds where nothing is served here: it has to be an endpoint as well."""
    if spec.embedding is None:
        return
    if spec.embedding.endpoint is not None:
        yield of_endpoint(spec.embedding.endpoint, progress)
    else:
        yield problem(
            _NAME,
            EndpointError(
                "evaluation.embedding.model is not for an endpoint that somebody else runs.",
                cause="This evaluation starts no engine.",
                remedy="Name what embeds in evaluation.embedding.endpoint.",
            ),
        )
    yield from unused(spec, lines)


def _placed(finding: Finding) -> Finding:
    texts = {n: placed(getattr(finding, n), EMBEDDING_PLACES) for n in ("found", "cause", "remedy")}
    return finding.model_copy(update={"name": f"{_NAME} {finding.name}", **texts})


def _beside(
    spec: RunSpec,
    embedding: EmbeddingSpec,
    shape: Shape,
    devices: Mapping[str, Device | None],
) -> Finding | str:
    """Check that the embedding model and each arm fit into one accelerator at a time."""
    try:
        device = detect(embedding.serving.computes_on)
    except AssayError:
        return note(_NAME, "there is no accelerator to compare with")
    weights = need_of(shape, embedding.serving).weights
    shared = [name for name, one in devices.items() if one and one.kind == device.kind]
    if device.kind == "cpu" or not shared:
        return f"about {weights / GIB:.1f} GiB of weights on {device.name}, beside the arm"
    share = memory_share(embedding)
    for name in shared:
        arm: ArmSpec = spec.arms[name]
        theirs = engine_of(arm.serving).memory_share(arm.serving)
        if theirs + share > _WHOLE:
            raise NotEnough(
                f"The {name} and the embedding model do not fit into one GPU: they take "
                f"{theirs:g} and {share:g} of its memory.",
                cause=f"Both are there at a time, and {1 - _WHOLE:.2g} stays for what CUDA takes.",
                remedy=f"Set serving.memory_fraction to {_WHOLE - share:.2g}, or "
                "evaluation.embedding.serving.device to 'cpu'.",
            )
    room = int(device.memory_bytes * share)
    if weights + _BESIDES > room:
        raise NotEnough(
            f"The embedding model needs about {(weights + _BESIDES) / GIB:.1f} GiB of the GPU; "
            f"{share:g} of its memory is {room / GIB:.1f} GiB.",
            remedy="Raise evaluation.embedding.serving.memory_fraction, and lower "
            "serving.memory_fraction by as much.",
        )
    return f"{share:g} of the GPU's memory, beside the arm"


_WHOLE = 0.97
"""Of a GPU's memory; the rest is taken by two CUDA contexts."""

_BESIDES = GIB
"""What its engine takes besides weights: activations, and a cache of keys and values."""
