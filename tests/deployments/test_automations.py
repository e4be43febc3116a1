"""`make deploy` registers the automation once, and it hears of a run that got worse."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import Alert
from infra.report.trend import alerts
from tests.infra.made_runs import make_run, of_pair
from tests.prefect_server import ROOT, Prefect, prefect_server

NAME = "assay-run-regressed"
EMIT = """
import json, sys
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
for event in json.load(sys.stdin):
    assert emit_event(**event) is not None
EventsWorker.instance().drain()
"""


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server


def _register(prefect: Prefect) -> None:
    """Do what `make deploy` does about automations."""
    commands = subprocess.run(
        ["make", "-n", "deploy"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (command,) = [line for line in commands.splitlines() if "prefect automation" in line]
    subprocess.run(["bash", "-c", command], cwd=ROOT, env=prefect.env, check=True)


def _automations(prefect: Prefect) -> list[dict[str, Any]]:
    return [dict(found) for found in prefect.read("automations/filter")]


def _triggered(prefect: Prefect) -> list[Any]:
    wanted = {"event": {"name": ["prefect.automation.triggered"]}}
    return list(prefect.read("events/filter", filter=wanted)["events"])


def test_it_is_registered_once_and_fires(prefect: Prefect, tmp_path: Path) -> None:
    _register(prefect)
    _register(prefect)
    (automation,) = _automations(prefect)
    assert automation["name"] == NAME
    assert automation["enabled"]

    report = make_run(tmp_path, rows=24)
    _emit(prefect, alerts.events(report))
    alert = Alert(reasons=("It got worse.",), good_run="earlier", changes=("engine: 1 → 2",))
    _emit(prefect, alerts.events(of_pair(report, alert=alert)))
    deadline = time.monotonic() + 120
    while not (fired := _triggered(prefect)):
        assert time.monotonic() < deadline, "the automation did not fire"
        time.sleep(0.5)
    assert len(fired) == 1, "the verdict alone, emitted before, is no alert"
    assert fired[0]["resource"]["prefect.resource.id"].endswith(automation["id"])


def _emit(prefect: Prefect, events: list[dict[str, Any]]) -> None:
    subprocess.run(
        [sys.executable, "-c", EMIT], env=prefect.env, input=json.dumps(events), text=True,
        check=True, timeout=120,
    )  # fmt: skip
