"""The flow that puts a checkpoint on a hub: a dry run unless it is switched off."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from flows.push_checkpoint import push_checkpoint
from infra.contracts.errors import PushRefused
from tests.infra.stages.passed_run import hub, judged
from tests.stub_hub import StubHub

__all__ = ["hub"]

pytestmark = [
    pytest.mark.usefixtures("prefect"),
    pytest.mark.filterwarnings("ignore:Use 'content=.*:DeprecationWarning"),
]


def run(folder: Path, margin: float) -> Path:
    folder.mkdir()
    judged(folder, margin=margin)
    return folder


def test_it_is_a_dry_run_unless_that_is_switched_off(tmp_path: Path, hub: StubHub) -> None:
    passed = str(run(tmp_path / "run", margin=20))
    assert inspect.signature(push_checkpoint.fn).parameters["dry_run"].default is True
    dry = push_checkpoint(passed, "hf:org/model", return_state=True)
    assert (dry.type.value, dry.name) == ("COMPLETED", "Dry run")
    assert hub.requests == []
    real = push_checkpoint(passed, "hf:org/model", dry_run=False, return_state=True)
    assert (real.name, real.message) == ("Pushed", f"{hub.url}/org/model")
    assert "README.md" in hub.repos["models/org/model"].files


def test_what_did_not_pass_fails_the_flow(tmp_path: Path, hub: StubHub) -> None:
    state = push_checkpoint(str(run(tmp_path / "run", margin=1)), "hf:org/model", return_state=True)
    assert state.type.value == "FAILED"
    with pytest.raises(PushRefused, match="did not pass"):
        state.result()
    assert hub.requests == []
