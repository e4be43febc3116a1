"""What each arm is made of: its model, the conversations, and memory for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial

from infra.contracts.progress import Progress
from infra.contracts.specs import BASELINE, ArmSpec, CalibrationSpec, Recipe, RunSpec
from infra.machine.device import Device
from infra.models.memory_need import Shape
from infra.preflight import access, model, room
from infra.preflight.findings import Finding, look
from infra.preflight.lines import Lines
from infra.preflight.model import Model
from infra.probes.fidelity import texts
from infra.quantizers import quantizer_of
from infra.store.settings import Settings

Talks = Mapping[CalibrationSpec, "Future[tuple[str, bool]]"]
"""Conversations on a hub → what it says of them, and whether they are here."""

Models = Mapping[str, "Future[Model]"]
"""Arm → what the hub says of its model, if that lies on one."""


@dataclass(frozen=True)
class Arms:
    """What was found."""

    findings: list[Finding]
    models: dict[str, Model]
    """Arm → what is known of its model."""

    conversations: dict[str, Finding]
    """Arm → what became of the conversations that its tokenizer has to render, the worst of it."""


def conversations_of(spec: RunSpec) -> dict[str, list[CalibrationSpec]]:
    """Return whose tokenizer renders which conversations, each arm's once.

    A checkpoint is made from those of its recipe, by its model's tokenizer; candidates are looked
    at with those of the run.
    """
    made = {
        name: [recipe.calibration] if (recipe := arm.quantization) and recipe.calibration else []
        for name, arm in spec.evaluated.items()
    }
    first = next(iter(made))
    if spec.conversations and spec.conversations not in made[first]:
        made[first].append(spec.conversations)
    return made


def ask(spec: RunSpec, settings: Settings, pool: Executor) -> tuple[Models, Talks]:
    """Start to ask hubs about models and conversations that lie there."""
    models = {
        name: pool.submit(model.on_a_hub, arm, settings)
        for name, arm in spec.evaluated.items()
        if arm.model.source != "local"
    }
    talks = {
        one: pool.submit(access.conversations, one, settings)
        for wanted in conversations_of(spec).values()
        for one in wanted
        if one.source != "file"
    }
    return models, talks


def look_at(
    spec: RunSpec,
    devices: Mapping[str, Device | None],
    on_hubs: Models,
    talks: Talks,
    settings: Settings,
    progress: Progress,
) -> Arms:
    """Look at the models, at conversations and texts, and at the memory that they take.

    Args:
        spec: The run.
        devices: Arm → what serves it.
        on_hubs: What hubs say of models there.
        talks: What hubs say of conversations there.
        settings: Where things are kept.
        progress: Hears about what takes long.
    """
    lines = Lines(spec)
    models: dict[str, Model] = {}
    for name, arm in spec.evaluated.items():
        on_hub = on_hubs.get(name)
        models[name] = on_hub.result() if on_hub else model.here(arm, settings, progress)
        lines.extend(name, models[name].findings)
    conversations: dict[str, Finding] = {}
    for name, wanted in conversations_of(spec).items():
        for one in wanted:
            arm = spec.arms[name]
            recipe = arm.quantization
            made = recipe is not None and one == recipe.calibration
            said = model.look_at_conversations(
                "calibration" if made else "conversations", one, spec.evaluation,
                arm.model.trust_remote_code, models[name], settings, progress, talks.get(one),
                for_quantizer=made and recipe is not None and quantizer_of(recipe).cuts_blocks,
            )  # fmt: skip
            lines.extend(name, [said], places=None if made else spec.probe_places)
            if said.status == "problem" or name not in conversations:
                conversations[name] = said
    if spec.fidelity.enabled and spec.fidelity.texts:
        lines.add(BASELINE, look("fidelity texts", partial(texts.check, spec.fidelity)))
    for name, arm in spec.evaluated.items():
        lines.extend(name, _memory(arm, models[name], devices[name]))
    return Arms(lines.findings, models, conversations)


def disk(spec: RunSpec, found: Arms, to_build: int, settings: Settings) -> Finding:
    """Look whether there is room for all that is downloaded, built and made, each thing once."""
    download = {arm.model: found.models[name].to_download for name, arm in spec.evaluated.items()}
    made = {
        (arm.model, arm.adapter, arm.quantization): _checkpoint_bytes(arm.quantization, shape)
        for name, arm in spec.evaluated.items()
        if arm.quantization and (shape := found.models[name].shape)
    }
    merged = {
        (arm.model, arm.adapter): shape.parameters * shape.stored_width
        for name, arm in spec.evaluated.items()
        if arm.adapter and arm.adapter.merge and (shape := found.models[name].shape)
    }
    checkpoints = sum(made.values()) + sum(merged.values())
    return room.disk(settings, checkpoints, sum(download.values()), to_build)


def _checkpoint_bytes(recipe: Recipe, shape: Shape) -> int:
    """Return about how large a checkpoint will be."""
    return int(shape.parameters * 2 * quantizer_of(recipe).share(shape, recipe))


def _memory(arm: ArmSpec, found: Model, device: Device | None) -> Iterator[Finding]:
    """Look whether there is memory for an arm: what is made here is smaller than its model."""
    if found.shape is None:
        return
    if arm.quantization:
        yield room.quantizer_memory(arm.quantization, found.shape, device)
    else:
        yield room.serving_memory(arm.serving, found.shape, device)
