"""An endpoint from the command line and as a deployment: found out, asked, reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.testing.utilities import prefect_test_harness
from prefect.utilities.callables import parameter_schema

from deployments.__main__ import main
from deployments.endpoints import ENDPOINTS
from flows.evaluate_endpoint import evaluate_endpoint
from infra.contracts.records import EndpointReport
from infra.contracts.specs import EndpointRunSpec
from tests.conftest import ROOT
from tests.deployments.test_bad_endpoints import given
from tests.foreign_endpoint import KEY, SAMPLE, foreign, serving


@pytest.fixture(scope="module")
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=150):
        yield


def test_the_deployment_is_the_recipe() -> None:
    [deployed] = [
        one
        for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
        if one["name"] == "endpoint"
    ]
    assert EndpointRunSpec(**deployed["parameters"]) == ENDPOINTS["endpoint"]()


def test_the_form_says_what_every_field_is() -> None:
    schema: dict[str, Any] = parameter_schema(evaluate_endpoint.fn).model_dump()
    boxes = {"evaluate-endpoint": schema, **schema["definitions"]}
    bare = [
        f"{box}.{name}"
        for box, definition in boxes.items()
        for name, field in definition.get("properties", {}).items()
        if not field.get("description")
    ]
    assert bare == []


@pytest.mark.e2e
def test_it_is_evaluated_from_the_command_line(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], prefect: None,
) -> None:  # fmt: skip
    monkeypatch.setenv("ASSAY_CACHE", str(own_cache))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("THEIR_KEY", KEY)
    path = tmp_path / "spec.json"
    tokenizer = {"source": "local", "id": str(SAMPLE / "model")}
    with serving(foreign()) as server:
        path.write_text(json.dumps(given(server.base_url, tokenizer=tokenizer)))
        assert main(["run", str(path)]) == 0
        found_out = [body for _, body in server.requests if body.get("max_tokens") != 16]
        sent = [body for _, body in server.requests if body.get("max_tokens") == 16]
    page = Path(capsys.readouterr().out.rpartition("report: ")[2].strip())
    report = EndpointReport.model_validate_json((page.parent / "report.json").read_text())
    assert report.tasks["gsm8k"].n == len(sent) == 2
    # What the command line found was not asked for again.
    assert report.found.spent.requests == len(found_out) + 1
    assert "95 % interval" in page.read_text()
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file
