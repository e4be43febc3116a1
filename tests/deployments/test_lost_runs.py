"""The automation that calls a run crashed of which nothing is heard, as Prefect reads it."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from prefect.server.events.schemas.automations import AutomationCreate, EventTrigger

from tasks.outcomes import NAMES
from tests.conftest import ROOT

FILE = ROOT / "deployments" / "lost_runs.yaml"


@pytest.fixture
def trigger() -> EventTrigger:
    (written,) = yaml.safe_load(FILE.read_text())["automations"]
    trigger = AutomationCreate.model_validate(written).trigger
    assert isinstance(trigger, EventTrigger)
    return trigger


def test_a_run_that_never_beat_is_never_called_crashed(trigger: EventTrigger) -> None:
    assert trigger.starts_after("prefect.flow-run.heartbeat")
    assert not trigger.starts_after("prefect.flow-run.Running")


def test_a_run_that_ended_is_heard_of_whatever_its_verdict(trigger: EventTrigger) -> None:
    ends = [*NAMES.values(), "Measured", "Completed", "Failed", "Cancelled", "Crashed", "heartbeat"]
    assert all(trigger.expects(f"prefect.flow-run.{end}") for end in ends)
    assert not trigger.expects("prefect.task-run.Completed")


def test_make_deploy_registers_it_once_and_takes_pools() -> None:
    def said(*given: str) -> str:
        command = ["make", "-n", "deploy", *given]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout  # fmt: skip

    assert "automation inspect assay-run-lost" in said()
    assert "work-pool create assay --type process" in said()
    routed = said("POOL=assay-gpu", "DEPLOYMENTS=candidates matrix")
    assert "work-pool create assay-gpu --type process" in routed
    assert "for name in candidates matrix; do" in routed
    assert "--name $name --pool assay-gpu" in routed
