"""An endpoint from the command line and as a deployment: found out, asked, reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.callables import parameter_schema

from deployments.__main__ import main
from deployments.endpoints import ENDPOINTS
from flows.evaluate_endpoint import evaluate_endpoint
from infra.contracts.records import EndpointReport
from infra.contracts.records.retrieval import Retrieval
from infra.contracts.specs import EndpointRunSpec
from infra.engines.remote.own_version import PAGES
from infra.store import history
from tests.conftest import ROOT
from tests.deployments.test_bad_endpoints import GSM8K, given
from tests.embedding_endpoint import embedding
from tests.foreign_endpoint import KEY, NAME, SAMPLE, Foreign, foreign, right_on_all_but, serving
from tests.infra.suite.own.test_documents import COSTS, NONE, files
from tests.prefect_server import Databases, prefect_harness


@pytest.fixture(scope="module")
def prefect(prefect_databases: Databases) -> Iterator[None]:
    with prefect_harness(prefect_databases.empty):
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


Given = Callable[..., Path]
"""Carries out an evaluation and returns the folder of its run."""


@pytest.fixture
def ran(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], prefect: None,
) -> Given:  # fmt: skip
    monkeypatch.setenv("ASSAY_CACHE", str(own_cache))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("THEIR_KEY", KEY)
    path = tmp_path / "spec.json"

    def run(server: Foreign, code: int = 0, limit: int = 2, **fields: Any) -> Path:
        tasks = [{**GSM8K, "limit": limit}]
        tokenizer = {"source": "local", "id": str(SAMPLE / "model")}
        spec = given(server.base_url, tokenizer=tokenizer, evaluation={"tasks": tasks})
        path.write_text(json.dumps(spec | fields))
        capsys.readouterr()
        assert main(["run", str(path)]) == code
        said = capsys.readouterr()
        return Path(said.out.rpartition("report: ")[2].strip()).parent

    return run


@pytest.mark.e2e
def test_it_is_evaluated_from_the_command_line(ran: Given, tmp_path: Path) -> None:
    with serving(foreign()) as server:
        folder = ran(server)
        found_out = [body for _, body in server.requests if body.get("max_tokens") != 16]
        sent = [body for _, body in server.requests if body.get("max_tokens") == 16]
    report = EndpointReport.model_validate_json((folder / "report.json").read_text())
    assert report.tasks["gsm8k"].n == len(sent) == 2
    # What the command line found was not asked for again.
    assert report.found.spent.requests == len(found_out) + 1 + len(PAGES)
    assert "95 % interval" in (folder / "report.html").read_text()
    assert main(["verify", str(folder)]) == 0
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


@pytest.mark.e2e
def test_it_ends_as_its_verdict_says(ran: Given, tmp_path: Path) -> None:
    statuses = {}
    with serving(foreign()) as server:
        server.answers = right_on_all_but(3)
        earlier = ran(server, limit=60)
        for wrong, code, gate in ((3, 0, "all"), (24, 3, "all"), (24, 0, "none"), (6, 4, "all")):
            server.answers = right_on_all_but(wrong)
            folder = ran(
                server, code, limit=60, baseline=str(earlier),
                verdict={"if_unresolvable": "widen", "gate": gate},
            )  # fmt: skip
            report = EndpointReport.model_validate_json((folder / "report.json").read_text())
            assert report.judged is not None and report.judged.power is not None
            assert main(["verify", str(folder / "report.json")]) == 0
            statuses[report.run_id] = report.judged.verdict.status
    assert [*statuses.values()] == ["PASS", "FAIL", "FAIL", "INCONCLUSIVE"]
    runs = tmp_path / "runs"
    frame = history.read(runs)
    known = frame[frame["arm"] != "baseline"].groupby("run_id")["verdict"].first()
    assert {run: known[run] for run in statuses} == statuses
    assert set(known.index) == {*statuses, earlier.name}
    page = (runs / "history.html").read_text()
    assert f"{NAME}@{server.base_url}" in page and "4 runs" in page
    assert f"{earlier.name}/report.html" in page


@pytest.mark.e2e
def test_it_is_asked_about_documents_with_what_was_found(ran: Given, tmp_path: Path) -> None:
    rows = files(tmp_path, COSTS, NONE, top_k=2, chunk_size=120, overlap=20)
    with serving(foreign()) as server, embedding() as vectors:
        embeds = {"endpoint": {"url": vectors.url, "model": vectors.name, "version": "1"}}
        task = {"name": "handbook", "file": str(rows), "max_gen_toks": 16}
        folder = ran(server, evaluation={"tasks": [task], "datasets": {}, "embedding": embeds})
        sent = [body for _, body in server.requests if body.get("max_tokens") == 16]
    report = EndpointReport.model_validate_json((folder / "report.json").read_text())
    assert (report.tasks["handbook"].n, len(sent)) == (2, 2)
    found = Retrieval.model_validate_json((folder / "retrieval-handbook.json").read_text())
    assert (found.top_k, found.questions) == (2, 2)
    lines = (folder / report.tasks["handbook"].samples).read_text().splitlines()
    first = json.loads(lines[0])
    assert all(one["document"] for one in json.loads(first["doc"]["retrieved"]))
    assert report.spec.evaluation.tasks[0].file == str(rows)
