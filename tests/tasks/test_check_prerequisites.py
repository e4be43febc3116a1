"""A run is surveyed once: by the command line that starts it, or by its flow."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow

from deployments.recipes import sample
from infra.contracts.errors import PreflightError
from infra.contracts.progress import Silent
from infra.contracts.specs import RunSpec
from infra.preflight import Finding, handed_over, survey
from infra.preflight.handover import VALID_SECONDS
from infra.stages.run_key import run_key
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tasks.check_prerequisites import check_prerequisites
from tasks.prefect_api import configured_api
from tests.conftest import ROOT

CALIBRATION = ROOT / "infra" / "sample" / "data" / "calibration.jsonl"


pytestmark = pytest.mark.usefixtures("prefect")


@flow
def starting(spec: RunSpec) -> RunFolder:
    return check_prerequisites(spec)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSpec:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    shutil.copy(CALIBRATION, tmp_path)
    short_form = sample().short_form
    assert short_form is not None
    short_form["quantization"]["calibration"]["path"] = str(tmp_path / CALIBRATION.name)
    short_form["evaluation"]["tasks"] = [short_form["evaluation"]["tasks"][0] | {"limit": 8}]
    short_form["verdict"]["if_unresolvable"] = "widen"
    short_form["serving"]["port"] = free_port()
    return RunSpec.model_validate(short_form)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def looked_at(spec: RunSpec) -> tuple[list[Finding], tuple[object, ...]]:
    """Survey as the command line does, and return what it hands over."""
    settings = Settings()
    content = (spec, settings, run_key(spec, settings))
    return survey(
        spec, settings=settings, progress=Silent(), configured=configured_api, fetch_rows=True
    ), content


@pytest.fixture
def taken(spec: RunSpec) -> Iterator[str]:
    """Something that only a new survey sees; returns what that says."""
    port = spec.baseline.serving.port
    assert port
    with socket.create_server(("127.0.0.1", port)):
        yield f"Port {port}"


def test_what_was_found_a_moment_ago_is_not_looked_for_again(
    spec: RunSpec, request: pytest.FixtureRequest
) -> None:
    found = looked_at(spec)
    request.getfixturevalue("taken")
    with handed_over(*found):
        run = starting(spec)
    assert (run.path / "inputs.json").is_file()
    assert (run.path / "plan.json").is_file()


def test_a_flow_that_is_handed_nothing_looks_for_itself(
    spec: RunSpec, request: pytest.FixtureRequest
) -> None:
    with handed_over(*looked_at(spec)):
        pass
    said = request.getfixturevalue("taken")
    with pytest.raises(PreflightError, match=said) as refused:
        starting(spec)
    assert refused.value.nothing_spent


@pytest.mark.parametrize("changed", ["spec", "settings", "a file", "time"])
def test_whatever_has_changed_is_looked_at_again(
    spec: RunSpec, changed: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = looked_at(spec)
    said = request.getfixturevalue("taken")
    match changed:
        case "spec":
            results = spec.results.model_copy(update={"label": "other"})
            spec = spec.model_copy(update={"results": results})
        case "settings":
            monkeypatch.setenv("ASSAY_SLOT_WAIT_SECONDS", "77")
        case "a file":
            [conversations] = spec.calibrations
            with Path(conversations.path).open("a") as stream:
                stream.write("\n")
        case _:
            monkeypatch.setattr("infra.preflight.handover.VALID_SECONDS", -1.0)
    assert VALID_SECONDS > 0
    with handed_over(*found), pytest.raises(PreflightError, match=said):
        starting(spec)
