from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest

from infra.contracts.errors import CorruptWeights, SpecError
from infra.contracts.records import PythonEnvironment
from infra.contracts.records.embedding import EmbeddingModel
from infra.contracts.specs import EmbeddingSpec, EndpointSpec, ModelSpec, ServingSpec
from infra.engines.embeddings import embedder_of, identity_of
from infra.engines.remote import asking
from infra.machine.device import detect
from infra.machine.leases import lease
from infra.models.weights import as_it_came, inspect_local
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.conftest import ROOT, PrintProgress
from tests.embedding_endpoint import embedding
from tests.process_marks import lives

SAMPLE = ROOT / "infra" / "sample" / "model"


def spec(**changes: object) -> EmbeddingSpec:
    whole = {
        "model": ModelSpec(id=str(SAMPLE), source="local"),
        "pooling": "mean",
        "serving": ServingSpec(device="cpu", max_model_len=256),
    }
    return EmbeddingSpec(**{**whole, **changes})


def model(environment: PythonEnvironment, settings: Settings) -> EmbeddingModel:
    weights = inspect_local(SAMPLE, settings=settings)
    return EmbeddingModel(checkpoint=as_it_came(weights), environment=environment)


def test_what_decides_a_vector_decides_its_identity(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache")
    engine = PythonEnvironment(name="vllm", python=tmp_path, digest="1", provided=False)
    one = model(engine, settings)
    another = one.checkpoint.model_copy(update={"digest": "of other weights"})
    newer = engine.model_copy(update={"digest": "2"})
    found = [
        identity_of(given, made, "run")
        for given, made in (
            (spec(), one),
            (spec(pooling="last"), one),
            (spec(pooling="own"), one),
            (spec(serving=ServingSpec(device="cpu", max_model_len=128)), one),
            (spec(serving=ServingSpec(device="cpu", max_model_len=256, dtype="float32")), one),
            (spec(), one.model_copy(update={"checkpoint": another})),
            (spec(), one.model_copy(update={"environment": newer})),
        )
    ]
    assert len(set(found)) == len(found)
    roomy = ServingSpec(device="cpu", max_model_len=256, memory_fraction=0.3)
    assert identity_of(spec(serving=roomy), one, "another run") == found[0]


def test_an_endpoint_is_what_its_user_and_itself_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_PAUSE", 0.01)  # as in life, but a fiftieth as long

    def identity(run: str, **changes: object) -> str:
        given = {"url": server.url, "model": "embeds", "version": "1", **changes}
        return identity_of(EmbeddingSpec(endpoint=EndpointSpec(**given)), None, run)

    with embedding() as server, embedding() as elsewhere:
        assert identity("one") == identity("two") == identity("two", concurrency=9)
        others = [identity("one", version="2"), identity("one", model="n"),
                  identity("one", url=elsewhere.url), identity("one", version=None),
                  identity("two", version=None)]  # fmt: skip
        found = {identity("one"), *others}
        assert len(found) == 6
        server.listed = {"root": "/models/next"}
        assert identity("one") not in found
    with embedding("hangs-up") as server:
        assert identity("one") == identity("two")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "neither a model nor an endpoint"),
        (
            {
                "model": ModelSpec(id="m"),
                "endpoint": EndpointSpec(url="http://127.0.0.1", model="m"),
            },
            "both a model and an endpoint",
        ),
        (
            {"model": ModelSpec(id="m"), "serving": ServingSpec(engine="llamacpp")},
            "serving.engine is 'llamacpp'",
        ),
        (
            {"model": ModelSpec(id="m"), "serving": ServingSpec(tensor_parallel_size=2)},
            "above 1",
        ),
    ],
)
def test_what_cannot_embed_is_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises((SpecError, ValueError), match=says):
        EmbeddingSpec(**given)


def test_a_model_that_was_overwritten_embeds_nothing(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache", leases=tmp_path / "leases")
    run = RunFolder(id="r", path=tmp_path / "r")
    folder = tmp_path / "model"
    shutil.copytree(SAMPLE, folder)
    engine = PythonEnvironment(name="vllm", python=tmp_path, digest="1", provided=False)
    weights = inspect_local(folder, settings=settings)
    made = EmbeddingModel(checkpoint=as_it_came(weights), environment=engine)
    config = folder / "config.json"
    config.write_text(config.read_text() + " ")
    given = spec(model=ModelSpec(id=str(folder), source="local"))
    with (
        pytest.raises(CorruptWeights, match="changed since its digest was computed"),
        embedder_of(
            given, made, name="baseline", run=run, settings=settings, progress=PrintProgress()
        ) as embeds,
    ):
        embeds.embed(["a text"])


@pytest.mark.engine
def test_the_real_engine_embeds_beside_an_arm_on_the_same_accelerator(
    server_environment: PythonEnvironment, tmp_path: Path
) -> None:
    settings = Settings(cache=tmp_path / "cache", leases=tmp_path / "leases")
    device, progress, run = detect("cpu"), PrintProgress(), RunFolder(id="r", path=tmp_path / "r")
    texts = ["What is 3 + 4 * 5?", "What is 2 + 4 * 6?", "The heart pumps blood.", "word " * 900]
    with lease(device, what="an arm", settings=settings, progress=progress) as held:
        made = model(server_environment, settings)
        with embedder_of(
            spec(), made, beside=(device, held), name="baseline", run=run,
            settings=settings, progress=progress,
        ) as embeds:  # fmt: skip
            assert not run.log("embedding-baseline").exists()
            found = embeds.embed(texts)
            below = psutil.Process().children(recursive=True)
            assert len(list(settings.leases.glob("*.json"))) == 2
        assert not [process for process in below if lives(process)]
        assert len(list(settings.leases.glob("*.json"))) == 1
    assert found.shape == (4, 256)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    near, far = float(found[0] @ found[1]), float(found[0] @ found[2])
    assert near > 0.8 > far + 0.2, (near, far)
    with embedder_of(
        spec(), made, name="candidate", run=run, settings=settings, progress=progress
    ) as again:
        assert (again.embed(texts) == found).all()
    assert not run.log("embedding-candidate").exists()
