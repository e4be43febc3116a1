"""What memory a served model takes."""

from __future__ import annotations

import contextlib

import httpx
import psutil

from infra.contracts.records import MemoryAtLoad
from infra.engines.endpoint import ServedEndpoint
from infra.machine import ports
from infra.machine.device import Device, memory_holders


def at_load(server: ServedEndpoint, device: Device) -> MemoryAtLoad:
    """Return what the engine said when it had loaded the model, and what its processes hold now.

    An engine on an accelerator takes its whole share at the start, so there the last number says
    how much room it was given; weights and room for tokens say what quantization saved. On a
    processor the key-value cache fills as it is used: after the tasks it counts, for both arms.

    Args:
        server: Serves the model.
        device: What it computes on.
    """
    said = server.footprint()
    return MemoryAtLoad(
        weights_bytes=said.weights_bytes,
        kv_cache_tokens=said.kv_cache_tokens,
        process_bytes=_on_accelerators(server) if device.kind == "cuda" else _resident(server),
    )


def _on_accelerators(server: ServedEndpoint) -> int | None:
    # In a container of its own the driver shows no processes, or none of their memory.
    held: dict[int, int] = {}
    with contextlib.suppress(TimeoutError):
        held = memory_holders()
    return sum(held.get(process.pid, 0) for process in _processes(server)) or None


def _resident(server: ServedEndpoint) -> int | None:
    """Return the sum over all processes; pages that several share count in each of them."""
    total = 0
    for process in _processes(server):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total or None


def _processes(server: ServedEndpoint) -> list[psutil.Process]:
    """Return the server and all below it, without its supervisor."""
    port = httpx.URL(server.base_url).port
    top = ports.listener(port) if port else None
    if top is None:
        return []
    with contextlib.suppress(psutil.Error):
        return [top, *top.children(recursive=True)]
    return [top]
