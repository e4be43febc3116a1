"""All checks in the order of the table; those that wait for a network run beside the others."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.contracts.errors import AssayError
from infra.contracts.progress import Progress
from infra.contracts.specs import BASELINE, ArmSpec, CalibrationSpec, RunSpec, ServingSpec
from infra.machine.device import Device, detect
from infra.machine.environments import Stage
from infra.models.hubs.hub import connect
from infra.models.memory_need import Shape
from infra.preflight import access, interpreters, machine, model, plan, room
from infra.preflight import suite as exam
from infra.preflight.findings import Finding, look, named, note, ok, problem, problems
from infra.probes.fidelity import texts
from infra.store.run_folder import runs_folder
from infra.store.settings import Settings
from infra.suite.harness.rows.sources import is_here

_THREADS = 16
_CACHE = "cache folder"


def survey(
    spec: RunSpec,
    *,
    settings: Settings,
    progress: Progress,
    fetch_rows: bool = False,
    in_flow: bool = False,
) -> list[Finding]:
    """Look at everything the run needs, and say what was found.

    Args:
        spec: What was asked.
        settings: Where things are kept.
        progress: Hears about what takes long.
        fetch_rows: If nothing is missing, also load the tasks whose rows are on a hub, which
            downloads them. Without it nothing is downloaded.
        in_flow: Prefect carries the run out, so its API was reached: a slow answer refuses nobody.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        tasks = exam.read(spec.evaluation)
        given = spec.evaluation.datasets
        elsewhere = [
            given.get(str(leaf.dataset))
            for leaf in tasks.datasets.values()
            if not is_here(leaf, given)
        ]
        arms = spec.arms
        models = [arm.model for arm in arms.values()]
        for hub in access.hubs(models, _conversations(spec), elsewhere):
            connect(hub)  # imports its client: two threads must not do that at once
        api = pool.submit(look, "Prefect API", _given_api if in_flow else _prefect_api)
        on_hubs = {
            name: pool.submit(model.on_a_hub, arm, settings)
            for name, arm in arms.items()
            if arm.model.source != "local"
        }
        rows = exam.ask_for_rows(tasks, spec.evaluation, settings, pool)
        talks = [_remote(wanted, settings, pool) for wanted in _conversations(spec)]

        findings, devices, to_build = _machine(spec, settings)
        with _usable(settings, findings) as usable:
            models_found = {}
            for name, arm in arms.items():
                hub_says = on_hubs.get(name)
                models_found[name] = (
                    hub_says.result() if hub_says else model.here(arm, usable, progress)
                )
            seen = _Lines()
            for name, found in models_found.items():
                seen.add(name, found.findings)
            baseline = models_found[BASELINE]
            said = None
            for name, arm in arms.items():
                wanted = arm.quantization.calibration if arm.quantization else None
                if wanted is None and name == BASELINE:
                    wanted = spec.conversations
                if wanted is None:
                    continue
                talk = talks[_conversations(spec).index(wanted)]
                trusted = arm.model.trust_remote_code
                said = model.look_at_conversations(
                    wanted, spec.evaluation, trusted, models_found[name], usable, progress, talk
                )
                seen.add(name, [said])
            if spec.fidelity.enabled and spec.fidelity.texts:
                seen.add(BASELINE, [look("fidelity texts", lambda: texts.check(spec.fidelity))])
            for name, arm in arms.items():
                if shape := models_found[name].shape:
                    seen.add(name, _room(arm, shape, devices[name]))
            findings += seen.findings
            if usable is settings:
                download = sum(
                    {arms[name].model.model_dump_json(): found.to_download
                     for name, found in models_found.items()}.values()
                )  # fmt: skip
                findings.append(room.disk(settings, baseline.shape, download, to_build))
            findings.append(api.result())
            looked, missing = exam.rows(rows, spec.evaluation)
            findings += [*tasks.findings, *looked]
            whole = fetch_rows and not problems(findings)
            loaded = exam.load(
                tasks, missing, spec.evaluation, spec.baseline, baseline, said, usable, progress,
                whole=whole,
            )  # fmt: skip
            findings += loaded.findings
            if loaded.whole:
                findings += plan.look_at(spec, usable, progress)
            elif loaded.waiting:
                findings.append(plan.later(spec.judged_verdict, loaded.waiting))
            if whole and any(place is None or place.source != "local" for place in elsewhere):
                findings[-1] = findings[-1].model_copy(update={"downloaded": True})
    return findings


class _Lines:
    """Findings of several arms: what is the same of two of them has one line."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def add(self, arm: str, findings: Iterable[Finding]) -> None:
        """Add findings; where another arm's line has the same name, it is told of which arm."""
        for found in findings:
            same = [one for one in self.findings if one.name.partition(", ")[0] == found.name]
            if any(one.model_copy(update={"name": found.name}) == found for one in same):
                continue
            name = f"{found.name}, {arm}" if same else found.name
            self.findings.append(found.model_copy(update={"name": name}))


def _conversations(spec: RunSpec) -> list[CalibrationSpec]:
    return [*spec.calibrations, *([spec.conversations] if spec.conversations else [])]


def _room(arm: ArmSpec, shape: Shape, device: Device | None) -> list[Finding]:
    """Return whether there is memory for an arm: what is made here is smaller than its model."""
    if arm.quantization:
        return [room.quantizer_memory(arm.quantization, shape, device)]
    return [room.serving_memory(arm.serving, shape, device)]


def _machine(
    spec: RunSpec, settings: Settings
) -> tuple[list[Finding], dict[str, Device | None], int]:
    """Look at this machine; also return each arm's device and the bytes to build."""
    findings = [ok("interpreter", f"Python {platform.python_version()}, {sys.executable}")]
    devices = {name: _device(arm.serving) for name, arm in spec.arms.items()}
    to_build = 0
    seen = _Lines()
    built = set()
    for name, arm in spec.arms.items():
        device = devices[name]
        kind = device.kind if device else "cuda"
        stages: tuple[Stage, ...] = ("quantizer", "server") if arm.quantization else ("server",)
        python = Path(arm.serving.python) if arm.serving.python else None
        for stage in stages:
            line = f"{stage} environment"
            try:
                found, size = interpreters.environment(stage, kind, settings, python)
                to_build += size if (stage, kind, python) not in built else 0
                built.add((stage, kind, python))
                seen.add(name, [named(line, "", found)])
            except AssayError as error:
                seen.add(name, [problem(line, error)])
        serving = arm.serving
        seen.add(name, [look("accelerator", partial(machine.accelerator, serving, settings))])
        if device and device.kind == "cuda":
            seen.add(name, [look("driver", partial(machine.driver, device, settings))])
        if serving.port is not None:
            seen.add(name, [look("port", partial(machine.port, serving.port))])
    findings += seen.findings
    runs = runs_folder(spec.results, settings)
    findings.append(look(_CACHE, lambda: machine.folder(settings.cache, "cache")))
    findings.append(look("runs folder", lambda: machine.folder(runs, "runs")))
    return findings, devices, to_build


def _device(serving: ServingSpec) -> Device | None:
    try:
        return detect(serving.device)
    except AssayError:
        return None  # the accelerator's own line says so


def _prefect_api() -> Finding | str:
    if url := os.environ.get("PREFECT_API_URL"):
        return access.prefect_api(url)
    return "PREFECT_API_URL is not set: Prefect starts a server for the run"


def _given_api() -> Finding | str:
    try:
        return _prefect_api()
    except AssayError as error:
        return note("Prefect API", error.fact)


def _remote(
    wanted: CalibrationSpec, settings: Settings, pool: Executor
) -> Future[tuple[str, bool]] | None:
    if wanted.source == "file":
        return None
    return pool.submit(access.conversations, wanted, settings)


@contextmanager
def _usable(settings: Settings, findings: list[Finding]) -> Iterator[Settings]:
    """Give the checks that remember things a cache of their own where the real one is unusable."""
    if not any(one.name == _CACHE and one.status == "problem" for one in findings):
        yield settings
        return
    with TemporaryDirectory(prefix="assay-") as spare:
        yield settings.model_copy(update={"cache": Path(spare)})
