"""From the spec to an embedder: whose identity it is, and with what a server of ours is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from infra.contracts.progress import Progress
from infra.contracts.records.embedding import EmbeddingModel
from infra.contracts.specs import EmbeddingSpec
from infra.engines.embeddings import sources
from infra.engines.embeddings.embedder import Embedder
from infra.engines.embeddings.sources import Source
from infra.engines.port import Setup
from infra.engines.registry import engine_of
from infra.engines.remote import own_version
from infra.machine.device import Device, detect
from infra.machine.leases import Lease, lease
from infra.models.unchanged import Unchanged
from infra.store.content import code_digest, digest_of
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings

MEMORY_SHARE = 0.1
"""Of an accelerator's memory, unless the spec says otherwise: embedding models are small."""

_CONCURRENCY = 16
"""Texts that a server of ours computes at a time."""

_CODE = ("engines/embeddings", "engines/remote/asking.py", "engines/remote/own_version.py")
"""Code that asks, and reads what is answered."""


def memory_share(spec: EmbeddingSpec) -> float:
    """Return the share of an accelerator's memory that it takes."""
    return spec.serving.memory_fraction or MEMORY_SHARE


def setup_of(spec: EmbeddingSpec, model: EmbeddingModel) -> Setup:
    """Return what is served.

    Raises:
        PreflightError: There is no such device.
    """
    device = detect(spec.serving.computes_on)
    serving = spec.serving
    if device.kind == "cuda":
        serving = serving.model_copy(update={"memory_fraction": memory_share(spec)})
    assert spec.model is not None  # noqa: S101 -- there is one that is here
    return Setup(
        model.checkpoint.path, serving, model.environment, device,
        spec.model.trust_remote_code, pooling=spec.pooling,
    )  # fmt: skip


def identity_of(spec: EmbeddingSpec, model: EmbeddingModel | None, run: str) -> str:
    """Return the digest of all that decides a vector besides the text.

    Of an endpoint that is the user's word for what answers there, and what it says of itself.
    Without that word its vectors are of one run alone.

    Args:
        spec: What embeds.
        model: The model that is served; none for an endpoint.
        run: Which run it is.

    Raises:
        EndpointError: The endpoint does not answer.
    """
    code = code_digest(*_CODE)
    if model is not None:
        setup = setup_of(spec, model)
        conditions = engine_of(setup.serving).conditions(setup, model.checkpoint.identity)
        return digest_of(["served", conditions, code])
    endpoint = spec.endpoint
    assert endpoint is not None  # noqa: S101 -- the spec has one of both
    version: list[object] = ["run", run]
    if endpoint.version:
        version = ["version", endpoint.version, own_version.of(endpoint)]
    return digest_of(["endpoint", endpoint.base_url, endpoint.model, version, code])


def embedder_of(
    spec: EmbeddingSpec,
    model: EmbeddingModel | None,
    *,
    beside: tuple[Device, Lease] | None = None,
    name: str,
    run: RunFolder,
    settings: Settings,
    progress: Progress,
) -> Embedder:
    """Return an embedder for a `with` block. Nothing is started before a vector is missing.

    Args:
        spec: What embeds.
        model: The model that is served; none for an endpoint.
        beside: What an engine of ours computes on that is asked meanwhile, and its accelerators.
            On the same kind of device both share them.
        name: Whom it serves, for the name of its log: `baseline`.
        run: Receives the log of its server.
        settings: Where vectors and leases are kept.
        progress: Hears what happens.
    """
    identity = identity_of(spec, model, run.id)

    @contextmanager
    def opened(started_before: int) -> Iterator[Source]:
        if model is None:
            assert spec.endpoint is not None  # noqa: S101 -- the spec has one of both
            with sources.elsewhere(spec.endpoint, progress) as endpoint:
                yield endpoint
            return
        setup = setup_of(spec, model)
        loaded = Unchanged.of(model.checkpoint, settings=settings, progress=progress)
        number = f"-{started_before + 1}" if started_before else ""
        with (
            _accelerator(setup.device, beside, run, settings, progress) as held,
            engine_of(setup.serving).serve(
                setup,
                name="embedding",
                concurrency=_CONCURRENCY,
                logprobs=0,
                log=run.log(f"embedding-{name}{number}"),
                progress=progress,
                lease=held,
            ) as server,
            sources.served(server) as served,
        ):
            for one in loaded:
                one.require()
            yield served

    return Embedder(
        identity,
        settings.cache.absolute() / "vectors" / f"{identity[:32]}.sqlite",
        opened,
        restarts=spec.serving.max_restarts,
        progress=progress,
    )


@contextmanager
def _accelerator(
    device: Device,
    beside: tuple[Device, Lease] | None,
    run: RunFolder,
    settings: Settings,
    progress: Progress,
) -> Iterator[Lease]:
    """Hold what the server computes on: the accelerators of the arm, or one of its own."""
    what = f"run {run.id}, embedding"
    if beside is not None and beside[0].kind == device.kind:
        with beside[1].beside(what) as held:
            yield held
        return
    with lease(device, what=what, settings=settings, progress=progress) as held:
        yield held
