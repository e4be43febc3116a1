"""What a server says of its work, in the metrics that it shows to Prometheus."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import httpx

from infra.engines.connection import connect

LOOK_SECONDS = 5.0
"""A server too busy to answer in that time is looked at again."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a server has to do, and what it has done."""

    running: float
    """Sequences being computed."""

    waiting: float
    """Sequences in its queue."""

    cache: float | None
    """Share of the key-value cache in use, 0 to 1; none if it does not say."""

    preemptions: float = 0.0
    """Sequences thrown out of the cache since the start, to be computed again."""

    computed: float = 0.0
    """A number that grows with every step it computes."""


@dataclass(frozen=True)
class Names:
    """What an engine calls its metrics."""

    running: str
    waiting: str
    cache: str
    preemptions: str
    computed: frozenset[str]

    def all(self) -> frozenset[str]:
        """Return those that are read."""
        return self.computed | {self.running, self.waiting, self.cache, self.preemptions}


def read(metrics: str, engines: Collection[Names]) -> Load | None:
    """Return the load that a text in Prometheus' format tells of; None if it is no such engine's.

    Engines that run side by side behind one address are added up; the fullest cache counts.

    Args:
        metrics: The text.
        engines: Those whose names may stand in it.
    """
    from prometheus_client.parser import text_string_to_metric_families

    wanted = tuple(name for names in engines for name in names.all())
    # An engine shows a thousand lines, nearly all of them histograms; parsing those takes longer
    # than asking for them.
    lines = [line for line in metrics.splitlines() if line.startswith(wanted)]
    found: dict[str, list[float]] = {}
    try:
        for family in text_string_to_metric_families("\n".join(lines)):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample.value)
    except ValueError:
        return None
    for names in engines:
        if names.running in found and names.waiting in found:
            return Load(
                running=sum(found[names.running]),
                waiting=sum(found[names.waiting]),
                cache=max(found.get(names.cache, ()), default=None),
                preemptions=sum(found.get(names.preemptions, ())),
                computed=sum(sum(found.get(name, ())) for name in names.computed),
            )
    return None


def ask(
    root: str,
    headers: Mapping[str, str],
    engines: Collection[Names],
    *,
    seconds: float = LOOK_SECONDS,
) -> Load | None:
    """Ask a server for its load; None if it does not answer in time, or says nothing of it.

    Args:
        root: Its address, without `/v1`.
        headers: What requests carry.
        engines: Those that it may be.
        seconds: How long to wait.
    """
    try:
        with connect(root, headers, seconds=seconds) as client:
            return read(client.get("/metrics").text, engines)
    except httpx.HTTPError:
        return None
