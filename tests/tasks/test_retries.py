"""Which failures Prefect tries again: real tasks in real flow runs, against a hub that fails."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect import Task, flow

import tasks
from deployments.recipes import sample
from infra.contracts.errors import AssayError, EnvironmentBuildError, HubUnreachable
from infra.contracts.progress import Silent
from infra.contracts.records import Weights
from infra.contracts.specs import ModelSpec
from infra.machine.environments import ensure
from infra.models.hubs.hub import connect, raise_unreachable
from infra.store.run_folder import RunFolder, open_run
from infra.store.settings import Settings
from tasks.fetch_weights import fetch_weights
from tasks.outcomes import may_heal
from tests.stub_hub import PASS, Repo, StubHub, model_files, running

BRANCH = {"huggingface": "main", "modelscope": "master"}


pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture(params=["huggingface", "modelscope"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str) -> Iterator[StubHub]:
    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "modelscope"))
        monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
        hub.repos["models/some/model"] = Repo(model_files(), branch=BRANCH[source])
        yield hub


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return open_run(
        sample(), Settings(runs=tmp_path / "runs"), created=datetime.now(UTC), key="a-key"
    )


@flow
def fetching(spec: ModelSpec, run: RunFolder) -> Weights:
    return fetch_weights.with_options(retry_delay_seconds=0)("baseline", spec, run)


def gated(hub: StubHub) -> None:
    hub.repos["models/some/model"].gated = True


def absent(hub: StubHub) -> None:
    hub.repos.clear()


def refused(hub: StubHub) -> None:
    hub.errors = {"/api/": [400] * 9}


def a_login_page(hub: StubHub) -> None:
    hub.portal = True


def only_pickles(hub: StubHub) -> None:
    for repo in hub.repos.values():
        del repo.files["model.safetensors"]


@pytest.mark.parametrize("wrong", [gated, absent, refused, a_login_page, only_pickles])
def test_a_refusal_is_final_at_once(
    hub: StubHub, source: str, run: RunFolder, wrong: Callable[[StubHub], None]
) -> None:
    wrong(hub)
    with pytest.raises(AssayError) as caught:
        fetching(ModelSpec(id="some/model", source=source), run)
    assert not caught.value.may_heal
    requests = [line for line in hub.requests if "/api/" in line]
    assert len(requests) == len(set(requests)), hub.requests
    assert requests


def test_a_full_disk_is_final_at_once(
    hub: StubHub, source: str, run: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(AssayError, match="cannot be written"):
        fetching(ModelSpec(id="some/model", source=source), run)
    assert len([line for line in hub.requests if "/api/" in line]) <= 2


def test_a_hub_in_trouble_is_tried_until_it_answers(
    hub: StubHub, source: str, run: RunFolder
) -> None:
    hub.errors = {"/api/": [503, 502, 503, 503, PASS]}  # three a try
    weights = fetching(ModelSpec(id="some/model", source=source), run)
    assert (weights.path / "model.safetensors").is_file()


def test_a_hub_that_is_not_to_be_reached_is_no_hub_in_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = connect("huggingface")
    for raised, heals in (("the answer is not a hub's", False), (ConnectionResetError(), True)):
        with pytest.raises(HubUnreachable) as caught:
            raise_unreachable(hub, raised)  # type: ignore[arg-type]
        assert caught.value.may_heal is heals
    for status, heals in ((400, False), (418, False), (429, True), (500, True), (504, True)):
        with pytest.raises(HubUnreachable) as caught:
            raise_unreachable(hub, "", status=status)
        assert caught.value.may_heal is heals


def test_an_environment_is_built_again_only_where_the_network_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(folder: str) -> EnvironmentBuildError:
        settings = Settings(cache=tmp_path / folder)
        with pytest.raises(EnvironmentBuildError) as caught:
            ensure("awq", "cpu", settings=settings, progress=Silent(), log=tmp_path / "log")
        return caught.value

    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_FIND_LINKS", "")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    assert build("lost").may_heal
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert not build("offline").may_heal
    monkeypatch.setenv("ASSAY_QUANTIZER_PYTHON", "/no/such/python")
    assert not build("no interpreter").may_heal


def test_whatever_is_tried_again_asks_first_whether_that_may_help() -> None:
    found = []
    for module in pkgutil.iter_modules(tasks.__path__, "tasks."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Task) and value.retries:
                found.append(value.name)
                assert value.retry_condition_fn is may_heal, value.name
    assert sorted(set(found)) == ["build-environment", "fetch-adapter", "fetch-weights"]
