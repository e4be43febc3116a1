"""Writes a run's baseline to one file, for candidates that are judged elsewhere."""

from __future__ import annotations

import zipfile
from pathlib import Path

from pydantic import ValidationError

from infra.contracts.errors import PackRefused
from infra.contracts.records import Report
from infra.contracts.records.baseline_pack import BaselinePack
from infra.contracts.specs import BASELINE
from infra.report import receipt
from infra.report.baseline_pack import PACK
from infra.stages.run_key import INPUTS, RunInputs
from infra.store.content import digest_file


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
    known = inputs.engines.get(BASELINE) and inputs.code
    if not known or tasks.keys() != found.baseline.tasks.keys():
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
        code=inputs.code,
        variables=inputs.variables,
        named=inputs.named,
        cores=inputs.cores,
        threads=inputs.threads,
        files=tuple(
            digest_file(folder / name).model_copy(update={"name": name})
            for name in dict.fromkeys(names)
        ),
    )
    partial = target.with_name(f".{target.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(PACK, pack.model_dump_json(indent=2))
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
