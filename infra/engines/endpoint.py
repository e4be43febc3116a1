"""What whoever asks a model needs to know of the server that it answers on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from infra.contracts.capability import Capability
from infra.contracts.records import ServerRecord
from infra.engines.load import Load
from infra.machine.energy import Meter


class Endpoint(Protocol):
    """A model under an address, of whatever engine. The address may change between questions."""

    @property
    def base_url(self) -> str:
        """Address, with `/v1`."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What each request carries. They may hold a key: they belong into no message."""

    @property
    def model(self) -> str:
        """Name under which it answers."""

    @property
    def window(self) -> int:
        """Tokens of prompt and answer together."""

    @property
    def can(self) -> frozenset[Capability]:
        """What it can do, as far as that is known before any request."""

    @property
    def meter(self) -> Meter | None:
        """What reads the energy of its accelerators; none where nobody knows which are its own."""

    def load(self) -> Load | None:
        """Return what it has to do; none if it does not say. May be called from any thread."""

    def raise_if_dead(self) -> None:
        """Raise whatever explains that it will never answer again.

        Raises:
            ServerError: It has ended, or computes nothing any more.
        """


class Footprint(NamedTuple):
    """What an engine says of memory once it has loaded a model; none where it does not say."""

    weights_bytes: int | None
    """On one accelerator."""

    kv_cache_tokens: int | None
    """Tokens that all key-value caches have room for together."""


class ServedEndpoint(Endpoint, Protocol):
    """The endpoint of an engine that runs for us, for as long as it is served."""

    @property
    def record(self) -> ServerRecord:
        """The engine as it really runs."""

    def footprint(self) -> Footprint:
        """Return what the engine says of memory."""

    def raise_if_failing(self) -> None:
        """Raise if it is the engine's fault that something asked of it failed.

        An engine that is about to end answers with errors for a while: it gets the time to end.

        Raises:
            ServerError: It ended, or computes nothing any more.
        """
