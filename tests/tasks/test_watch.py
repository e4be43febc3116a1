"""What changed on a hub starts a run, once: real clients, a hub and a server on loopback."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from flows.quantize_and_evaluate import quantize_and_evaluate
from flows.watch_models import watch_models
from infra.contracts.errors import SpecError
from infra.contracts.specs import ModelSpec
from tasks.watch import given_to
from tests import stub_hub
from tests.conftest import ROOT
from tests.stub_hub import Repo, StubHub

SAMPLE = ROOT / "infra" / "sample" / "model"
ID = "owner/model"
pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    with stub_hub.running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "modelscope"))
        monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
        yield hub


class Watched:
    """A deployment, and what runs of it were started."""

    def __init__(self, **parameters: Any) -> None:
        self.short = f"revisions-{uuid4().hex[:8]}"
        self.name = f"{quantize_and_evaluate.name}/{self.short}"
        with get_client(sync_client=True) as client:
            self.id = client.create_deployment(
                flow_id=client.create_flow(quantize_and_evaluate),
                name=self.short,
                parameters=parameters,
            )

    def watch(self, *models: ModelSpec, first: bool = False) -> State[Any]:
        return watch_models(list(models), self.name, first, return_state=True)

    @property
    def runs(self) -> list[FlowRun]:
        with get_client(sync_client=True) as client:
            return [run for run in client.read_flow_runs() if run.deployment_id == self.id]


@pytest.mark.parametrize(("source", "branch"), [("huggingface", "main"), ("modelscope", "master")])
def test_a_new_revision_is_run_once_and_a_hub_that_is_away_is_no_news(
    source: str, branch: str, hub: StubHub
) -> None:
    model = ModelSpec.model_validate({"source": source, "id": ID})
    watched = Watched(model={"source": source, "id": "owner/another", "revision": "v1"})
    hub.repos[f"models/{ID}"] = Repo({"config.json": b"{}"}, branch=branch)
    assert watched.watch(model).name == "Unchanged"
    assert watched.watch(model).name == "Unchanged"
    assert watched.runs == []

    hub.repos[f"models/{ID}"] = Repo({"config.json": b'{"new": true}'}, branch=branch)
    hub.errors["/api/"] = [503] * 3
    away = watched.watch(model)
    assert (away.name, away.type.value) == ("Unanswered", "COMPLETED")
    assert "answers HTTP 503" in str(away.message)
    assert watched.runs == []

    started = watched.watch(model)
    assert started.name == "Started"
    (run,) = watched.runs
    assert run.name in str(started.message)
    assert run.parameters["model"] == {"source": source, "id": ID}
    assert watched.watch(model).name == "Unchanged"
    assert len(watched.runs) == 1
    assert not any("resolve" in asked for asked in hub.requests), "nothing was downloaded"


def test_two_that_look_at_once_start_one_run(hub: StubHub) -> None:
    model = ModelSpec(source="huggingface", id=ID)
    watched = Watched(model={"source": "huggingface", "id": ID})
    hub.repos[f"models/{ID}"] = Repo({"config.json": b"{}"})
    states: list[State[Any]] = []
    both = [
        threading.Thread(target=lambda: states.append(watched.watch(model, first=True)))
        for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [state.type.value for state in states] == ["COMPLETED"] * 2
    assert len(watched.runs) == 1


def test_a_branch_that_goes_back_is_run_again(hub: StubHub) -> None:
    model = ModelSpec(source="huggingface", id=ID)
    watched = Watched(model={"source": "huggingface", "id": ID})
    before, after = (Repo({"config.json": content}) for content in (b"{}", b'{"new": true}'))
    for number, repo in enumerate((before, after, before, after)):
        hub.repos[f"models/{ID}"] = repo
        assert watched.watch(model, first=True).name == "Started"
        assert len(watched.runs) == number + 1


def test_a_folder_is_new_when_its_content_is(hub: StubHub, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(SAMPLE, folder)
    model = ModelSpec(source="local", id=str(folder))
    missing = ModelSpec(source="local", id=str(tmp_path / "none"))
    watched = Watched(model={"source": "local", "id": str(folder)})
    assert watched.watch(model).name == "Unchanged"
    for file in folder.iterdir():
        file.touch()
    assert watched.watch(model).name == "Unchanged", "as it was, with other times"
    with (folder / "generation_config.json").open("a") as config:
        config.write("\n")
    state = watched.watch(missing, model)
    assert state.type.value == "FAILED" and "There is no folder" in str(state.message)
    assert len(watched.runs) == 1, "what one model lacks costs the other nothing"


def test_a_deployment_that_does_not_evaluate_the_model_is_refused() -> None:
    model = ModelSpec(source="huggingface", id=ID)
    named = {"source": "huggingface", "id": ID}
    assert given_to({"baseline": {"model": named}}, model, "a/b") == {}
    assert given_to({"candidates": [{"name": "x", "model": named}]}, model, "a/b") == {}
    kept = {**named, "trust_remote_code": True}
    assert given_to({"model": kept}, model, "a/b") == {"model": kept}
    fixed = {**named, "revision": "v1"}
    assert given_to({"model": fixed}, model, "a/b") == {"model": named}, "what is watched is run"
    branch = ModelSpec(source="huggingface", id=ID, revision="v1")
    assert given_to({"model": named}, branch, "a/b") == {"model": fixed}
    assert given_to({"baseline": {"model": fixed}}, branch, "a/b") == {}
    for own, watched in ((fixed, model), (named, branch)):
        with pytest.raises(SpecError, match="another revision of owner/model than is watched"):
            given_to({"baseline": {"model": own}}, watched, "a/b")
    with pytest.raises(SpecError, match=f"evaluates no {ID}"):
        given_to({"baseline": {"model": {"id": ID}}}, model, "a/b")  # of another hub
