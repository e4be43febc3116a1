"""What this machine has for the arms: environments, accelerators, drivers, ports, folders."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from infra.contracts.errors import AssayError
from infra.contracts.specs import ArmSpec, RunSpec, ServingSpec
from infra.contracts.specs.embedding import EMBEDDING_PLACES
from infra.engines.registry import engine_of
from infra.machine.device import Device, detect
from infra.preflight import interpreters, machine
from infra.preflight.findings import Finding, look, named, note, ok, problem
from infra.preflight.lines import Lines
from infra.quantizers import programs_of
from infra.store.content import code_is_known
from infra.store.run_folder import runs_folder
from infra.store.settings import Settings
from infra.suite.passages.pending import PROGRAM, pending

_UNKNOWN_CODE = note(
    "code",
    "Assay's own was written while this process loaded it, or since: what this run computes is "
    "kept for no other. End it and start it again to have it kept",
)


@dataclass(frozen=True)
class Equipment:
    """What is there, and what has to be built."""

    findings: list[Finding]
    devices: dict[str, Device | None]
    """Arm → what serves it; none where that is not to be had."""

    to_build: int
    """Bytes that environments will take."""

    cache_is_usable: bool


def look_at(spec: RunSpec, settings: Settings) -> Equipment:
    """Look at this machine.

    Args:
        spec: The run.
        settings: Where things are kept.
    """
    devices = {name: _device(arm.serving) for name, arm in spec.evaluated.items()}
    environments = _Environments(settings)
    lines = Lines(spec)
    for name, arm in spec.evaluated.items():
        lines.extend(name, environments.of(arm, devices[name]))
        lines.extend(name, _serving(arm.serving, devices[name], settings))
    embedding = spec.evaluation.embedding
    if embedding and (served := embedding.as_arm):
        device = _device(served.serving)
        found = [*environments.of(served, device), *_serving(served.serving, device, settings)]
        lines.extend("embedding", found, places=EMBEDDING_PLACES)
    if pending(spec.evaluation):
        lines.extend(PROGRAM, environments.named(PROGRAM, "cpu"), places={})
    cache = look("cache folder", partial(machine.folder, settings.cache, "cache"))
    runs = runs_folder(spec.results, settings)
    return Equipment(
        findings=[
            ok("interpreter", f"Python {platform.python_version()}, {sys.executable}"),
            *([] if code_is_known() else [_UNKNOWN_CODE]),
            *lines.findings,
            cache,
            look("runs folder", partial(machine.folder, runs, "runs")),
            *(
                look("shared results", partial(machine.shared, url))
                for url in [settings.shared]
                if url
            ),
        ],
        devices=devices,
        to_build=environments.to_build,
        cache_is_usable=cache.status != "problem",
    )


class _Environments:
    """The environments that arms need; each is built once, whoever needs it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sizes: dict[tuple[str, str, Path | None], int] = {}

    @property
    def to_build(self) -> int:
        """Bytes that those take which are not there."""
        return sum(self._sizes.values())

    def of(self, arm: ArmSpec, device: Device | None) -> list[Finding]:
        """Look at the environments of an arm."""
        kind = device.kind if device else "cuda"
        own = arm.serving.python
        wanted: list[tuple[str, Path | None]] = [
            (engine_of(arm.serving).environment, Path(own) if own else None)
        ]
        wanted = [*((program, None) for program in programs_of(arm)), *wanted]
        return [
            finding for program, python in wanted for finding in self.named(program, kind, python)
        ]

    def named(
        self, program: str, kind: Literal["cpu", "cuda"], python: Path | None = None
    ) -> list[Finding]:
        """Look at the environment of a program."""
        line = f"{program} environment"
        try:
            found, size = interpreters.environment(program, kind, self._settings, python)
        except AssayError as error:
            return [problem(line, error)]
        self._sizes[program, kind, python] = size
        return [named(line, "", found)]


def _serving(serving: ServingSpec, device: Device | None, settings: Settings) -> list[Finding]:
    """Look at what serving an arm takes of the machine."""
    findings = [look("accelerator", partial(machine.accelerator, serving, settings))]
    if device and device.kind == "cuda":
        findings.append(look("driver", partial(machine.driver, device, settings, serving)))
    if serving.port is not None:
        findings.append(look("port", partial(machine.port, serving.port)))
    return findings


def _device(serving: ServingSpec) -> Device | None:
    try:
        return detect(serving.computes_on)
    except AssayError:
        return None  # the accelerator's own line says so
