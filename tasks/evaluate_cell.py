"""One cell of a matrix: a run of its own, here or by whichever worker is free."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
from prefect import task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.client.schemas.sorting import LogSort
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from infra.contracts.errors import CellFailed
from infra.contracts.progress import Silent
from infra.contracts.specs import CellSpec
from infra.machine.process_trees import AFTER_GRACE_SECONDS, GRACE_SECONDS
from infra.machine.processes import environment_of_a_run, tail
from infra.machine.processes import run as run_process
from infra.report.trend.rows import record_missing
from infra.stages.run_key import finished_run, run_key
from infra.store.content import write_atomically, written_ns
from infra.store.run_folder import runs_folder
from infra.store.settings import Settings
from infra.store.shared import shared_of
from tasks.outcomes import outcome
from tasks.prefect_api import configured_api
from tasks.progress import reported_to_prefect

DEPLOYMENT = "evaluate-candidates/candidates"
"""Carries out a cell where workers are."""

_POLL_SECONDS = 2.0
_SILENT_SECONDS = 900.0
"""A run that neither logs nor writes for so long is dead. If it is not, its cell is begun twice,
and both share what is answered."""
_REPORT = re.compile(r"^report: (.+)$")
_TAIL_LINES = 12

_LIVES = 3
"""How many workers may be lost at one cell: what ends each of them may be the cell."""

_TURN_MILLISECONDS = 100

_GRACE_SECONDS = GRACE_SECONDS + AFTER_GRACE_SECONDS + 3.0
"""A run that is ended ends its engine first, which may take all of that; then it tells Prefect."""


@task(name="evaluate-cell", task_run_name="evaluate-{cell.name}")
def evaluate_cell(cell: CellSpec, folder: Path, *, deployed: bool, turn: int = 0) -> Path:
    """Return the `report.json` of a cell; one that is finished already is taken as it is.

    Args:
        cell: What to run.
        folder: Receives its spec and its log.
        deployed: Let a worker carry it out. Else it runs here, in a process of its own.
        turn: Workers take those with a lower one first.

    Raises:
        CellFailed: It came to no result.
    """
    if finished := finished_run(cell.run, Settings()):
        report, page = finished
        if not_added := record_missing(report, page.parent.parent):
            get_run_logger().warning(str(not_added))
        return outcome(page.with_name("report.json"), reused=True)
    return _by_a_worker(cell, turn) if deployed else _here(cell, folder)


def workers_wait() -> bool:
    """Return whether the Prefect server knows the deployment that carries out cells."""
    if configured_api() is None:
        return False
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            return False
    return True


def _here(cell: CellSpec, folder: Path) -> Path:
    name = cell.name.replace("/", "-")
    spec, log = folder / "cells" / f"{name}.json", folder / "logs" / f"{name}.log"
    write_atomically(spec, cell.run.model_dump_json(indent=2) + "\n")
    log.parent.mkdir(parents=True, exist_ok=True)
    pages: list[Path] = []
    with reported_to_prefect() as progress:

        def on_line(line: str) -> None:
            if found := _REPORT.match(line):
                pages.append(Path(found[1]))
            elif line.strip():
                progress.say(f"{cell.name}: {line}")

        run_process(
            [sys.executable, "-m", "deployments", "run", spec],
            log=log, env=environment_of_a_run(), on_line=on_line, grace_seconds=_GRACE_SECONDS,
        )  # fmt: skip
    if not pages:
        raise CellFailed(
            f"{cell.name} came to no result.",
            cause="\n".join(["Its log ends with:", tail(log, _TAIL_LINES)]),
            remedy=f"Whole log: {log}",
        )
    return pages[-1].with_name("report.json")


def _by_a_worker(cell: CellSpec, turn: int) -> Path:
    key = run_key(cell.run, Settings())
    # Whoever started a cell may have been killed: its worker goes on, and need not start anew.
    run = (_under_way(cell, key) if key else None) or _started(cell, key, turn)
    for lives_left in reversed(range(_LIVES)):
        state = _end_of(run)
        if found := _files(cell, run, "report.json"):
            return found[0]
        if state.type is not StateType.CRASHED or not lives_left:
            break
        # Its worker is gone. Another one takes the cell over, and asks nothing twice.
        get_run_logger().warning(f"{cell.name}: its worker is gone; another one takes it over")
        run = _started(cell, key, turn)
    raise CellFailed(
        f"{cell.name} came to no result: its run ended as {state.name}.",
        cause=state.message or "",
        remedy=f"Look at flow run {run.name} in the Prefect UI.",
    )


def _end_of(run: FlowRun) -> State[Any]:
    """Wait for the end of a run, however long the API is away meanwhile."""
    while True:
        # A client for each look: one that lost its server may not find it again.
        with suppress(httpx.TransportError), get_client(sync_client=True) as client:
            state = client.read_flow_run(run.id).state
            if state is not None and state.is_final():
                return state
        time.sleep(_POLL_SECONDS)


def _files(cell: CellSpec, run: FlowRun, pattern: str) -> list[Path]:
    """Return files in the folder of a cell's run, which is brought if another machine has it."""
    results, settings = cell.run.results, Settings()
    folders = f"{results.label}-*-{str(run.id)[:8]}"
    runs = runs_folder(results, settings)
    if (shared := shared_of(settings, Silent())) is not None:
        shared.bring_runs(folders, runs)
    return list(runs.glob(f"{folders}/{pattern}"))


def _under_way(cell: CellSpec, key: str) -> FlowRun | None:
    """Return the run of the same cell that a worker carries out, or that waits for one.

    Of one that runs something has to be heard: a worker that was killed leaves it running for ever.
    """
    unfinished = [kind for kind in StateType if kind not in TERMINAL_STATES]
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                tags=FlowRunFilterTags(all_=[_tag(key)]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=unfinished)),
            )
        )
        for run in found:
            if run.state_type is not StateType.RUNNING:
                return run
            heard = [_last_written(cell, run)]
            logs = client.read_logs(
                LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])),
                limit=1, sort=LogSort.TIMESTAMP_DESC,
            )  # fmt: skip
            heard += [log.timestamp.timestamp() for log in logs]
            if time.time() - max(heard) < _SILENT_SECONDS:
                return run
    return None


def _last_written(cell: CellSpec, run: FlowRun) -> float:
    """Return when a file of a cell's run was last written, since the epoch; 0 if there is none."""
    times = [0]
    for its in _files(cell, run, ""):
        for folder, _, names in os.walk(its):  # it passes over what is removed meanwhile
            times += [written_ns(Path(folder, name)) for name in names]
    return max(times) / 1e9


def _tag(key: str) -> str:
    return f"cell {key[:16]}"


def _started(cell: CellSpec, key: str | None, turn: int) -> FlowRun:
    spec = cell.run
    started = run_deployment(
        DEPLOYMENT,
        parameters={
            "baseline": spec.baseline.model_dump(mode="json"),
            "candidates": [one.model_dump(mode="json") for one in spec.candidates],
            **{
                name: getattr(spec, name).model_dump(mode="json")
                for name in ("evaluation", "fidelity", "speed", "verdict", "results")
            },
            **(
                {"conversations": spec.conversations.model_dump(mode="json")}
                if spec.conversations
                else {}
            ),
        },
        timeout=0,
        # Workers take what is due longest.
        scheduled_time=datetime.now(UTC) + timedelta(milliseconds=_TURN_MILLISECONDS * turn),
        flow_run_name=cell.name.replace("/", " · "),
        tags=[_tag(key)] if key else [],
        as_subflow=True,
    )
    return cast(FlowRun, started)  # outside of an event loop it is no coroutine
