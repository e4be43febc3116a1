"""The embedding server, looked at before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.overrides import override
from deployments.recipes import sample
from infra.contracts.progress import Silent
from infra.contracts.specs import EmbeddingSpec, EndpointSpec, ModelSpec, RunSpec, TaskSpec
from infra.machine.device import Device
from infra.models.memory_need import GIB
from infra.preflight import embedding
from infra.store.settings import Settings
from infra.suite.port import Line
from tests import embedding_endpoint
from tests.conftest import ROOT
from tests.infra.suite.own.test_documents import COSTS, NONE, files

SAMPLE = str(ROOT / "infra" / "sample" / "model")
GPU = Device(kind="cuda", name="a GPU", count=1, memory_bytes=80 * GIB)


def run(**given: object) -> RunSpec:
    spec = sample()
    evaluation = spec.evaluation.model_copy(update={"embedding": EmbeddingSpec(**given)})
    return spec.model_copy(update={"evaluation": evaluation})


def look(
    spec: RunSpec, device: Device | None = None, *lines: Line
) -> dict[str, tuple[str, str, str]]:
    devices = dict.fromkeys(spec.arms, device)
    found = embedding.look_at(spec, devices, Settings(), Silent(), lines)
    return {one.name: (one.status, one.found, one.remedy) for one in found.findings}


def test_a_model_is_looked_at_as_those_of_arms_are() -> None:
    found = look(run(model=ModelSpec(id=SAMPLE, source="local")))
    assert found["embedding model"][0] == "ok"
    assert "Qwen2ForCausalLM" in found["embedding model"][1]
    assert found["embedding servable"][0] == "ok"
    assert found["embedding beside arms"][0] == "ok"


def test_a_model_that_is_not_there_is_named_where_the_run_has_it() -> None:
    found = look(run(model=ModelSpec(id="/nowhere", source="local")))
    status, fact, remedy = found["embedding model"]
    assert (status, fact) == ("problem", "There is no folder /nowhere.")
    assert "Set evaluation.embedding.model.id to a folder" in remedy


@pytest.mark.parametrize(
    ("arm", "own", "status", "says"),
    [
        (0.85, None, "ok", "0.1 of the GPU's memory, beside the arm"),
        (None, None, "problem", "they take 0.9 and 0.1 of its memory"),
        (0.85, 0.3, "problem", "they take 0.85 and 0.3 of its memory"),
        (0.6, 0.3, "ok", "0.3 of the GPU's memory"),
        (0.85, 0.01, "problem", "needs about 1.0 GiB of the GPU; 0.01 of its memory is 0.8 GiB"),
    ],
)
def test_arm_and_embedding_model_have_to_fit_into_one_gpu(
    monkeypatch: pytest.MonkeyPatch, arm: float | None, own: float | None, status: str, says: str
) -> None:
    monkeypatch.setattr(embedding, "detect", lambda _: GPU)
    spec = run(
        model=ModelSpec(id=SAMPLE, source="local"),
        serving={"device": "cuda", "memory_fraction": own},
    )
    spec = override(spec, [f"baseline.serving.memory_fraction={arm or 'null'}"])
    found = look(spec, GPU)["embedding beside arms"]
    assert found[0] == status
    assert says in found[1]
    if arm is None:
        assert "Set serving.memory_fraction to 0.87" in found[2]


def test_a_model_that_retrieves_passages_is_beside_no_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has ended when the first arm starts, but for tasks that are marked by vectors."""
    monkeypatch.setattr(embedding, "detect", lambda _: GPU)
    spec = run(model=ModelSpec(id=SAMPLE, source="local"), serving={"device": "cuda"})
    task = TaskSpec(name="handbook", file=str(files(tmp_path, COSTS, NONE)))
    tasks = (*spec.evaluation.tasks, task)
    evaluation = spec.evaluation.model_copy(update={"tasks": tasks})
    spec = spec.model_copy(update={"evaluation": evaluation})
    waits = Line(task, (task.name,), (), True, (), (), (), embeds=True)
    assert "embedding beside arms" not in look(spec, GPU, waits)
    marked = Line(tasks[0], (tasks[0].name,), (), True, (), (), (), embeds=True)
    assert look(spec, GPU, waits, marked)["embedding beside arms"][0] == "problem"


def test_an_endpoint_is_asked_for_one_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    with embedding_endpoint.embedding() as server:
        given = EndpointSpec(url=server.url, model="embeds")
        found = look(run(endpoint=given))["embedding"]
        assert found[:2] == (
            "ok", "embeds gives vectors of 64 numbers; no version: kept for this run alone"
        )  # fmt: skip
        assert server.asked == [["one"]]
        wrong = EndpointSpec(url=server.url, model="another")
        assert look(run(endpoint=wrong))["embedding"][0] == "problem"
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    keyless = EndpointSpec(url="http://127.0.0.1:9", model="m", key_variable="NO_SUCH_KEY")
    assert "NO_SUCH_KEY is not set" in look(run(endpoint=keyless))["embedding"][1]


def test_what_no_task_needs_is_noted() -> None:
    spec = run(endpoint=EndpointSpec(url="http://127.0.0.1:9", model="m")).evaluation
    (task, *_) = spec.tasks
    line = Line(task, (task.name,), (), True, (), (), ())
    (found,) = embedding.unused(spec, [line])
    assert found.status == "note"
    wanted = Line(task, (task.name,), (), True, (), (), (), embeds=True)
    assert list(embedding.unused(spec, [line, wanted])) == []


def test_an_evaluation_of_an_endpoint_starts_no_embedding_model(tmp_path: Path) -> None:
    spec = run(model=ModelSpec(id=SAMPLE, source="local")).evaluation
    first, *_ = embedding.of_endpoint_run(spec, [], Silent())
    assert first.status == "problem"
    assert "starts no engine" in first.cause


def test_a_key_that_is_not_there_is_named_where_the_run_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EMBEDDING_KEY", raising=False)
    endpoint = EndpointSpec(url="http://127.0.0.1:9/v1", model="m", key_variable="EMBEDDING_KEY")
    (one,) = embedding.look_at(run(endpoint=endpoint), {}, Settings(), Silent(), ()).findings
    said = f"{one.found} {one.cause} {one.remedy}"
    assert one.status == "problem" and "EMBEDDING_KEY" in said
    assert said.count("endpoint.") == said.count("evaluation.embedding.endpoint.")
