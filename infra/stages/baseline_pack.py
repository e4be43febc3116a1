"""Baselines that were evaluated elsewhere: written to one file, and taken from it.

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

from infra.contracts.errors import AssayError
from infra.contracts.records import ArmResult, Report
from infra.contracts.records.baseline_pack import BaselinePack
from infra.contracts.specs import BASELINE, RunSpec
from infra.machine.device import detect
from infra.machine.environments import locate
from infra.report import receipt
from infra.stages.run_key import INPUTS, RunInputs
from infra.store.content import digest_file
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.suite.harness.keys import task_keys

_PACK = "pack.json"
_FREE = {"concurrency", "triage", "noise_floor", "include_path", "datasets"}
"""Of the evaluation: decides no answer, or is known by the digests of the tasks."""


class PackRefused(AssayError):
    """A baseline pack cannot be written, read, or taken for this run."""


def export(report: Path, target: Path) -> BaselinePack:
    """Write a run's baseline to one file.

    Args:
        report: The run's `report.json`, or its folder.
        target: The file to write.

    Raises:
        ReceiptError: There is no report with a receipt.
        PackRefused: The report does not hold, or its run kept too little.
    """
    folder = report if report.is_dir() else report.parent
    if wrong := [text for check in receipt.verify(folder) for text in check.wrong]:
        raise PackRefused(
            f"The report in {folder} does not hold: {wrong[0]}.",
            cause="It, or one of its files, was changed after it was sealed.",
            remedy="Evaluate the baseline again.",
        )
    found = Report.model_validate_json((folder / "report.json").read_text(encoding="utf-8"))
    inputs = _inputs(folder)
    tasks = {name: key for name, key in inputs.tasks.items() if key}
    if inputs.engines.get(BASELINE) is None or tasks.keys() != found.baseline.tasks.keys():
        raise PackRefused(
            f"The run in {folder} did not keep what identifies its tasks and its engine.",
            cause="An earlier version of Assay made it, or its rows could not be identified.",
            remedy="Evaluate the baseline again.",
        )
    names = [task.samples for task in found.baseline.tasks.values()]
    names += [found.baseline.reading.file] if found.baseline.reading else []
    pack = BaselinePack(
        run_id=found.run_id,
        created=found.created,
        seal=receipt.seal_of(folder),
        baseline=found.spec.baseline,
        evaluation=found.spec.evaluation,
        result=found.baseline,
        tasks=tasks,
        engine=inputs.engines[BASELINE],
        files=tuple(
            digest_file(folder / name).model_copy(update={"name": name})
            for name in dict.fromkeys(names)
        ),
    )
    partial = target.with_name(f".{target.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_PACK, pack.model_dump_json(indent=2))
            for file in pack.files:
                archive.write(folder / file.name, file.name)
        partial.replace(target)
    except OSError as error:
        raise PackRefused(
            f"{target} cannot be written: {error.strerror}.",
            remedy="Name a file in a folder you may write to.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return pack


def read(path: Path) -> BaselinePack:
    """Return what a pack says of itself.

    Raises:
        PackRefused: It is no pack, or one of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return BaselinePack.model_validate_json(archive.read(_PACK))
    except (OSError, zipfile.BadZipFile, KeyError, ValidationError) as error:
        raise PackRefused(
            f"{path} cannot be read as a baseline pack.",
            cause=str(error).splitlines()[0],
            remedy="Name a file that `python -m deployments export-baseline` wrote.",
        ) from error


def check(path: Path, spec: RunSpec, settings: Settings) -> BaselinePack:
    """Return a pack that fits a run.

    Raises:
        PackRefused: It does not; the field that differs is named.
    """
    pack = read(path)
    for field, theirs, ours in _differences(pack, spec):
        _refuse(path, field, theirs, ours)
    own = task_keys(spec.evaluation, settings)
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
    device = detect(serving.device)
    python = Path(serving.python) if serving.python else None
    environment, _ = locate("server", device.kind, settings, python)
    if environment.digest != pack.engine:
        version = f"{pack.result.server.engine} {pack.result.server.version}"
        _refuse(path, "the engine", version, f"the environment {environment.name}")
    if device.name not in pack.result.server.device:
        _refuse(path, "the device", pack.result.server.device, device.name)
    return pack


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
    return pack.result.model_copy(update={"tasks": tasks})


def _inputs(folder: Path) -> RunInputs:
    try:
        text = (folder / f"{INPUTS}.json").read_text(encoding="utf-8")
        return RunInputs.model_validate_json(text)
    except (OSError, ValidationError) as error:
        raise PackRefused(
            f"The run in {folder} did not keep what it started from.",
            cause="An earlier version of Assay made it.",
            remedy="Evaluate the baseline again.",
        ) from error


def _differences(pack: BaselinePack, spec: RunSpec) -> Iterator[tuple[str, Any, Any]]:
    """Return field, the pack's value and the run's where they decide answers and differ."""
    theirs, ours = pack.baseline, spec.baseline
    if theirs.model.source != "local" and theirs.model != ours.model:
        yield "baseline.model", theirs.model.id, ours.model.id
    if theirs.quantization != ours.quantization:
        yield "baseline.quantization", _name(theirs.quantization), _name(ours.quantization)
    yield from _fields("baseline.serving", theirs.serving, ours.serving, {"port", "python"})
    left = _FREE | {"tasks"}
    yield from _fields("evaluation", pack.evaluation, spec.evaluation, left)


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
        cause=why or "A candidate can only be held against a baseline that was asked the same.",
        remedy="Make the run as the pack is, or leave baseline_pack out to evaluate the baseline.",
    )


def _broken(path: Path, name: str, fact: str) -> NoReturn:
    raise PackRefused(
        f"{name} in {path} {fact}.",
        cause="The pack was cut or changed.",
        remedy="Copy it again, or export it again.",
    )
