"""Turn the end of an engine into one error: with cause and remedy where the failure is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from infra.contracts.errors import (
    PortTaken,
    ServerDied,
    ServerError,
    ServerHung,
    ServerNotReady,
)
from infra.engines.diagnosis.patterns import Table
from infra.engines.diagnosis.reading import diagnose
from infra.machine.log_lines import tail
from infra.machine.processes import describe_exit


def died(table: Table, log: Path, exit_code: int) -> ServerError:
    """Return the error for an engine that ended by itself.

    Args:
        table: The engine's failures.
        log: What it printed.
        exit_code: With which it ended (128 + n after signal n).
    """
    ended = f"The server ended by itself with {describe_exit(exit_code)}."
    diagnosis = diagnose(table, _read(log), exit_code)
    if diagnosis is None:
        return ServerDied(
            f"{ended} Its last lines ({log}):\n{tail(log)}",
            cause=table.first_error(log),
            remedy="The first error in the log is the one that matters.",
            exit_code=exit_code,
            log=log,
        )
    kind = PortTaken if diagnosis.name == "port-taken" else ServerDied
    return kind(
        f"{diagnosis.fact} {ended} Its log: {log}",
        cause=diagnosis.cause,
        remedy=diagnosis.remedy,
        diagnosis=diagnosis.name,
        exit_code=exit_code,
        log=log,
    )


def not_ready(table: Table, log: Path) -> ServerNotReady:
    """Return the error for an engine that still runs, but was not ready in time."""
    late = "The server was not ready in time."
    if (diagnosis := diagnose(table, _read(log), None)) is not None:
        return ServerNotReady(
            f"{late} {diagnosis.fact} Its log: {log}",
            cause=diagnosis.cause,
            remedy=diagnosis.remedy,
            diagnosis=diagnosis.name,
            log=log,
        )
    return ServerNotReady(
        f"{late} Its last lines ({log}):\n{tail(log)}",
        cause="Large weights on a slow disk, or a start that hangs.",
        remedy="Raise serving.startup_timeout_seconds if the log shows that it gets on.",
        log=log,
    )


def hung(log: Path) -> ServerHung:
    """Return the error for an engine that lives, but computes nothing any more."""
    return ServerHung(
        f"The server lives, but computes nothing any more. Its log: {log}",
        cause="A process of it was stopped, or waits for a driver, a disk or a dead peer.",
        remedy="Look at `nvidia-smi` and `dmesg`; if the engine only needed longer for one step, "
        "raise serving.hang_timeout_seconds.",
        diagnosis="hung",
        log=log,
    )


def explained(table: Table, error: ServerError, log: Path) -> ServerError:
    """Return an error of an engine that runs, with the cause and remedy that its log tells of."""
    diagnosis = diagnose(table, _read(log), None)
    if diagnosis is None:
        return error
    return replace(error, cause=diagnosis.fact, remedy=diagnosis.remedy, diagnosis=diagnosis.name)


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")
