"""What whoever asks a model needs to know of the server that it answers on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from infra.contracts.capability import Capability
from infra.engines.load import Load


class Endpoint(Protocol):
    """A model under an address, of whatever engine. The address may change between questions."""

    @property
    def base_url(self) -> str:
        """Address, with `/v1`."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What each request carries. They may hold a key: they belong into no message."""

    @property
    def model_name(self) -> str:
        """Name under which it answers."""

    @property
    def max_model_len(self) -> int:
        """Tokens of prompt and answer together."""

    @property
    def can(self) -> frozenset[Capability]:
        """What it can be asked for, as far as that is known before it is asked."""

    def load(self) -> Load | None:
        """Return what it has to do; none if it does not say. May be called from any thread."""

    def raise_if_dead(self) -> None:
        """Raise whatever explains that it will never answer again.

        Raises:
            ServerError: It has ended, or computes nothing any more.
        """
