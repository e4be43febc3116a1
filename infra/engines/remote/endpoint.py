"""An endpoint that somebody else runs, as whoever asks a model sees it.

It takes no lease, no watchdog and no restart: nothing of it is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from infra.contracts.capability import Capability
from infra.contracts.records.endpoint import Estimate, Found
from infra.contracts.specs.endpoint import EndpointSpec
from infra.engines.load import Load
from infra.engines.remote.asking import headers_of, key_of
from infra.engines.remote.budget import Budget
from infra.engines.remote.finding import can_of

_UNKNOWN_WINDOW = 2**31
"""Where nobody says how much fits: it refuses what does not."""


class Rehearsal:
    """Counts what would be sent, where nothing is."""

    def __init__(self) -> None:
        self._requests = self._prompt = self._answer = 0
        self._counted = True

    def count(self, prompt_tokens: int, answer_tokens: int, *, counted: bool) -> None:
        """Count a request."""
        self._requests += 1
        self._prompt += prompt_tokens
        self._answer += answer_tokens
        self._counted = self._counted and counted

    @property
    def estimate(self) -> Estimate:
        """What was counted."""
        return Estimate(
            requests=self._requests,
            prompt_tokens=self._prompt,
            answer_tokens=self._answer,
            counted=self._counted,
        )


@dataclass(frozen=True)
class RemoteEndpoint:
    """A model behind a URL, see `infra.engines.endpoint.Endpoint`."""

    spec: EndpointSpec
    found: Found
    budget: Budget
    headers: Mapping[str, str] = field(repr=False)
    rehearsal: Rehearsal | None = None
    """Set, nothing is sent: it counts instead."""

    @classmethod
    def of(cls, spec: EndpointSpec, found: Found, budget: Budget) -> RemoteEndpoint:
        """Return an endpoint that was found out.

        Raises:
            EndpointError: There is no key, although one is wanted.
        """
        return cls(spec, found, budget, headers_of(key_of(spec)))

    def rehearsed(self) -> RemoteEndpoint:
        """Return the same, to which nothing is sent."""
        return replace(self, rehearsal=Rehearsal())

    @property
    def base_url(self) -> str:
        """Address that paths are below."""
        return self.spec.base_url

    @property
    def model(self) -> str:
        """Name under which it answers."""
        return self.spec.model

    @property
    def window(self) -> int:
        """Tokens of prompt and answer together."""
        return self.found.window or _UNKNOWN_WINDOW

    @property
    def can(self) -> frozenset[Capability]:
        """What it was shown to do."""
        return can_of(self.found)

    @property
    def meter(self) -> None:
        """None: what it computes on is not ours to read."""

    def load(self) -> Load | None:
        """Return none: what it has to do for others is not ours to follow."""
        return None

    def raise_if_dead(self) -> None:
        """Do nothing: whether it lives shows in its answers alone."""
