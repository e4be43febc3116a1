"""Baselines that were evaluated elsewhere, taken from one file.

A pack is a ZIP file: `pack.json`, and the rows and readings of the baseline under the names that
they have in the run's folder. Each file counts by its digest, and the pack names the seal of the
report it belongs to. A run that takes a pack refuses it where tasks, rows, prompts or engine are
not its own.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from infra.contracts.commands import PYTHON
from infra.contracts.errors import PackRefused
from infra.contracts.progress import Silent
from infra.contracts.records import ArmResult, Checkpoint, Weights
from infra.contracts.records.baseline_pack import BaselinePack
from infra.contracts.specs import AdapterSpec, RunSpec, ServingSpec
from infra.engines.registry import engine_of, title
from infra.machine.device import Device, detect
from infra.machine.environments import locate
from infra.models import lora
from infra.store.content import code_digest, digest_file
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.suite import kind_of

PACK = "pack.json"
"""Name of what a pack says of itself."""
_FREE = {"concurrency", "triage", "noise_floor", "include_path", "datasets"}
"""Of the evaluation: decides no answer, or is in the digests of the tasks."""

_CODE = (
    *("engines", "scoring", "probes", "stages/arms.py", "store/stored_scores.py"),
    "models/template_clock.py",
    *("contracts/capability.py", "contracts/vllm_flags.py", "machine/device.py"),
)
"""Code that serves, asks, reads and times. What makes questions and marks is in their digests."""


def read(path: Path) -> BaselinePack:
    """Return what a pack says of itself.

    Raises:
        PackRefused: It is no pack, or one of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return BaselinePack.model_validate_json(archive.read(PACK))
    except (OSError, zipfile.BadZipFile, KeyError, ValidationError) as error:
        raise PackRefused(
            f"{path} cannot be read as a baseline pack.",
            cause=str(error).splitlines()[0],
            remedy=f"`{PYTHON} -m deployments export-baseline RUN FILE` writes one.",
        ) from error


def check(path: Path, spec: RunSpec, settings: Settings) -> BaselinePack:
    """Return a pack that fits a run.

    Raises:
        PackRefused: It does not; the field that differs is named.
    """
    pack = read(path)
    for field, theirs, ours in _differences(pack, spec):
        _refuse(path, field, theirs, ours)
    own = kind_of(spec.evaluation).keys(spec.evaluation, settings=settings)
    if pack.tasks.keys() != own.keys():
        _refuse(path, "evaluation.tasks", ", ".join(pack.tasks), ", ".join(own))
    for task, key in own.items():
        if key != pack.tasks[task]:
            _refuse(
                path,
                f"the questions of {task}",
                pack.tasks[task][:12],
                key[:12] if key else "unknown",
                "Its definition, its rows, their marking or the libraries are others.",
            )
    serving = spec.baseline.serving
    device = detect(serving.computes_on)
    python = Path(serving.python) if serving.python else None
    environment, _ = locate(engine_of(serving).environment, device.kind, settings, python)
    if environment.digest != pack.engine:
        version = f"{title(pack.result.server.engine)} {pack.result.server.version}"
        _refuse(path, "the engine", version, f"the environment {environment.name}")
    if (ours := code()) != pack.code:
        _refuse(
            path,
            "the code that serves and asks",
            pack.code[:12] or "unknown",
            ours[:12],
            "Another version of Assay evaluated the baseline.",
        )
    if device.name not in pack.result.server.device:
        _refuse(path, "the device", pack.result.server.device, device.name)
    _refuse_other_surroundings(path, pack, serving, device)
    return pack


def code() -> str:
    """Return the digest of the code on which it depends what a baseline answers, and how fast.

    It stands for flags and variables of ours as well: without the model nobody can tell them.
    """
    return code_digest(*_CODE)


def _refuse_other_surroundings(
    path: Path, pack: BaselinePack, serving: ServingSpec, device: Device
) -> None:
    ours = engine_of(serving).variables()
    for name in sorted({*ours, *pack.variables}):
        if ours.get(name) != pack.variables.get(name):
            _refuse(
                path,
                f"the variable {name}",
                pack.variables.get(name, "not set"),
                ours.get(name, "not set"),
                "It reaches the engine and may change what it answers.",
            )
    named = engine_of(serving).named(serving)
    for name in sorted({*named, *pack.named}):
        content, theirs = named.get(name), pack.named.get(name)
        if content is None or content != theirs:
            _refuse(
                path,
                f"what is in {name}",
                theirs[:12] if theirs else "unknown",
                content[:12] if content else "unknown",
                "The engine's settings name it.",
            )
    if device.cores != pack.cores:
        _refuse(
            path,
            "the number of cores",
            pack.cores,
            device.cores,
            "It decides in which order a processor adds up.",
        )
    if device.threads != (took := pack.threads or pack.cores):
        _refuse(
            path,
            "the number of cores whose time may be taken",
            took,
            device.threads,
            "It decides in which order a processor adds up. A container's limit of processors "
            "sets it.",
        )


def adopt(path: Path, spec: RunSpec, run: RunFolder, settings: Settings) -> ArmResult:
    """Bring a pack's files into a run's folder, and return its baseline.

    Raises:
        PackRefused: It does not fit the run, or a file in it is not what it says.
    """
    pack = check(path, spec, settings)
    with zipfile.ZipFile(path) as archive:
        for file in pack.files:
            target = run.path / file.name
            if not target.resolve().is_relative_to(run.path.resolve()):
                _broken(path, file.name, "would lie outside of the run's folder")
            try:
                content = archive.read(file.name)
            except (KeyError, zipfile.BadZipFile) as error:
                _broken(path, file.name, f"cannot be read: {error}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            if digest_file(target).sha256 != file.sha256:
                target.unlink()
                _broken(path, file.name, "is not what the pack says of it")
    tasks = {
        name: task.model_copy(update={"reused": True}) for name, task in pack.result.tasks.items()
    }
    bench = pack.result.bench
    timed = bench.model_copy(update={"reused": True}) if bench else None
    return pack.result.model_copy(update={"tasks": tasks, "bench": timed})


def require_same_origin(
    path: Path, name: str, checkpoint: Checkpoint, weights: Weights, spec: RunSpec, pack: ArmResult
) -> None:
    """Refuse a candidate that comes from other weights, or another adapter, than the baseline.

    A branch may have moved, or a folder been written anew, since the pack was made.

    Args:
        path: The pack.
        name: Of the candidate.
        checkpoint: What it serves.
        weights: What was fetched as its model.
        spec: The run.
        pack: The baseline as it came out of the pack.

    Raises:
        PackRefused: It has the baseline's model and adapter by name, and not by content.
    """
    arm, theirs = spec.evaluated[name], pack.checkpoint
    made = spec.baseline.quantization or (theirs.adapter and theirs.adapter.merged)
    if arm.model == spec.baseline.model and not made and weights.digest != theirs.digest:
        _refuse(
            path,
            f"the content of {arm.model.id}, which {name} comes from,",
            f"{theirs.digest[:12]} (revision {theirs.revision})",
            f"{weights.digest[:12]} (revision {weights.revision})",
            "The model has changed since the baseline was evaluated.",
        )
    mine, same = checkpoint.adapter, arm.adapter == spec.baseline.adapter
    if mine and theirs.adapter and same and mine.digest != theirs.adapter.digest:
        _refuse(
            path,
            f"the content of {mine.id}, the adapter of {name},",
            theirs.adapter.digest[:12],
            mine.digest[:12],
            "The adapter has changed since the baseline was evaluated.",
        )


def _differences(pack: BaselinePack, spec: RunSpec) -> Iterator[tuple[str, Any, Any]]:
    """Return field, the pack's value and the run's where they decide answers and differ."""
    theirs, ours = pack.baseline, spec.baseline
    if theirs.model.source != "local" and theirs.model != ours.model:
        yield from _fields("baseline.model", theirs.model, ours.model, set())
    if theirs.quantization != ours.quantization:
        yield "baseline.quantization", _name(theirs.quantization), _name(ours.quantization)
    yield from _adapters(pack, ours.adapter)
    yield from _fields("baseline.serving", theirs.serving, ours.serving, {"port", "python"})
    left = _FREE | {"tasks"}
    yield from _fields("evaluation", pack.evaluation, spec.evaluation, left)


def _adapters(pack: BaselinePack, ours: AdapterSpec | None) -> Iterator[tuple[str, Any, Any]]:
    theirs = pack.result.checkpoint.adapter
    if theirs is None or ours is None:
        if theirs or ours:
            yield "baseline.adapter", theirs and theirs.id, ours and ours.id
    elif theirs.merged != ours.merge:
        yield "baseline.adapter.merge", theirs.merged, ours.merge
    elif ours.source == "local":
        here = lora.inspect_local(ours, settings=Settings(), progress=Silent())
        if here.digest != theirs.digest:
            yield "the content of baseline.adapter", theirs.digest[:12], here.digest[:12]
    elif (theirs.source, theirs.id) != (ours.source, ours.id):
        yield "baseline.adapter.id", theirs.id, ours.id
    elif ours.revision is not None and theirs.revision != ours.revision:
        yield "baseline.adapter.revision", theirs.revision, ours.revision


def _fields(
    path: str, theirs: BaseModel, ours: BaseModel, left_out: set[str]
) -> Iterator[tuple[str, Any, Any]]:
    for name in type(theirs).model_fields:
        one, other = getattr(theirs, name), getattr(ours, name)
        if name not in left_out and one != other:
            yield f"{path}.{name}", one, other


def _name(recipe: Any) -> str:
    return recipe.slug if recipe else "none"


def _refuse(path: Path, field: str, theirs: object, ours: object, why: str = "") -> NoReturn:
    raise PackRefused(
        f"{path} does not fit this run: {field} is {theirs!s:.80} there, and {ours!s:.80} here.",
        cause=why or "A candidate can only be held against a baseline that was evaluated alike.",
        remedy="Make the run as the pack is, or leave baseline_pack out to evaluate the baseline.",
    )


def _broken(path: Path, name: str, fact: str) -> NoReturn:
    raise PackRefused(
        f"{name} in {path} {fact}.",
        cause="The pack was cut or changed.",
        remedy="Copy it again, or export it again.",
    )
