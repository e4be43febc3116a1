"""All checks in the order of the table; those that wait for a network run beside the others."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.contracts.errors import AssayError
from infra.contracts.progress import Progress
from infra.contracts.specs import RunSpec
from infra.machine.device import Device, detect
from infra.machine.environments import Stage
from infra.models.hubs.base import connect
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
        for hub in access.hubs(spec.model, spec.quantization.calibration, elsewhere):
            connect(hub)  # imports its client: two threads must not do that at once
        api = pool.submit(look, "Prefect API", _given_api if in_flow else _prefect_api)
        asked = None
        if spec.model.source != "local":
            asked = pool.submit(model.on_a_hub, spec, settings)
        rows = exam.ask_for_rows(tasks, spec.evaluation, settings, pool)
        talks = _remote_conversations(spec, settings, pool)

        findings, device, to_build = _machine(spec, settings)
        with _usable(settings, findings) as usable:
            found = asked.result() if asked else model.here(spec, usable, progress)
            said = model.look_at_conversations(spec, found, usable, progress, talks)
            findings += [*found.findings, said]
            if spec.fidelity.enabled and spec.fidelity.texts:
                findings.append(look("fidelity texts", lambda: texts.check(spec.fidelity)))
            if found.shape:
                findings.append(room.quantizer_memory(spec, found.shape, device))
                findings.append(room.serving_memory(spec, found.shape, device))
            if usable is settings:
                findings.append(room.disk(settings, found.shape, found.to_download, to_build))
            findings.append(api.result())
            looked, missing = exam.rows(rows, spec.evaluation)
            findings += [*tasks.findings, *looked]
            whole = fetch_rows and not problems(findings)
            loaded = exam.load(tasks, missing, spec, found, said, usable, progress, whole=whole)
            findings += loaded.findings
            if loaded.whole:
                findings += plan.look_at(spec, usable, progress)
            elif loaded.waiting:
                findings.append(plan.later(spec.verdict, loaded.waiting))
            if whole and any(place is None or place.source != "local" for place in elsewhere):
                findings[-1] = findings[-1].model_copy(update={"downloaded": True})
    return findings


def _machine(spec: RunSpec, settings: Settings) -> tuple[list[Finding], Device | None, int]:
    """Look at this machine; also return its device and the bytes of environments to build."""
    findings = [ok("interpreter", f"Python {platform.python_version()}, {sys.executable}")]
    device = _device(spec)
    kind = device.kind if device else "cuda"
    to_build = 0
    stages: tuple[Stage, ...] = ("quantizer", "server")
    for stage in stages:
        try:
            found, size = interpreters.environment(stage, kind, settings)
            to_build += size
            findings.append(named(f"{stage} environment", "", found))
        except AssayError as error:
            findings.append(problem(f"{stage} environment", error))
    findings.append(look("accelerator", lambda: machine.accelerator(spec, settings)))
    if device and device.kind == "cuda":
        findings.append(look("driver", lambda: machine.driver(device, settings)))
    if (port := spec.serving.port) is not None:
        findings.append(look("port", lambda: machine.port(port)))
    runs = runs_folder(spec.results, settings)
    findings.append(look(_CACHE, lambda: machine.folder(settings.cache, "cache")))
    findings.append(look("runs folder", lambda: machine.folder(runs, "runs")))
    return findings, device, to_build


def _device(spec: RunSpec) -> Device | None:
    try:
        return detect(spec.serving.device)
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


def _remote_conversations(
    spec: RunSpec, settings: Settings, pool: Executor
) -> Future[tuple[str, bool]] | None:
    wanted = spec.quantization.calibration
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
