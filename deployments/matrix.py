"""Matrices from the command line: shown, looked at, carried out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from deployments import prefect_here
from deployments.overrides import override_matrix
from infra.contracts import exit_codes
from infra.contracts.errors import AssayError, SpecError
from infra.contracts.progress import Progress, Silent
from infra.contracts.specs import MatrixSpec
from infra.store.settings import Settings
from tasks.prefect_api import configured_api, surveyed_api


def carry_out(
    spec: MatrixSpec,
    command: str,
    changes: Sequence[str],
    progress: Progress,
    *,
    again: bool = False,
) -> int:
    """Do what a command line asks of a matrix and return the exit code.

    Args:
        spec: The matrix.
        command: `show`, `preflight` or `run`.
        changes: Fields to replace; see `override`.
        progress: Hears what happens.
        again: Whether to run even what is finished.

    Raises:
        SpecError: A change is none, or `again` was given.
    """
    if again:
        raise SpecError(
            "A matrix cannot be run --again.",
            cause="Cells that are finished are taken as they are: that is how it goes on.",
            remedy="Leave --again out. For runs of its own give it a folder of its own: "
            "--set results.folder=FOLDER",
        )
    spec = override_matrix(spec, changes)
    if command == "show":
        print(spec.model_dump_json(indent=2))
        return 0
    if command == "preflight":
        return _preflight(spec)
    return _run(spec, progress)


def _preflight(spec: MatrixSpec) -> int:
    from infra.preflight import problems, survey, table

    code = 0
    for cell in spec.cells:
        findings = survey(cell.run, settings=Settings(), progress=Silent(), configured=surveyed_api)
        print(f"{cell.name}\n{table(findings)}\n")
        code = exit_codes.BAD_INPUT if problems(findings) else code
    return code


def _run(spec: MatrixSpec, progress: Progress) -> int:
    prefect_ready = prefect_here.begin(progress)
    # No worker asks a server that this run brings along.
    where: Literal["auto", "here"] = "auto" if configured_api() else "here"
    prefect_ready()
    from flows.evaluate_models import evaluate_models

    try:
        page: Path = evaluate_models(
            models=list(spec.models),
            evaluation=spec.evaluation,
            candidates=list(spec.candidates),
            serving=spec.serving,
            conversations=spec.conversations,
            fidelity=spec.fidelity,
            speed=spec.speed,
            verdict=spec.verdict,
            results=spec.results,
            where=where,
        )
    except AssayError as error:
        print(f"assay: {error}", file=sys.stderr)
        return exit_codes.FAILED
    print(f"report: {page}")
    return 0
