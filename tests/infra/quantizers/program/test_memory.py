from __future__ import annotations

import resource
from types import SimpleNamespace

from infra.quantizers.program import memory


def test_without_an_accelerator_main_memory_counts() -> None:
    no_gpu = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))
    for torch in (None, no_gpu):
        least = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        found = memory.used(torch)
        assert found["device"] is None
        assert least <= found["peak_memory_bytes"] <= 2 * least


def test_with_some_the_fullest_counts() -> None:
    peaks = [5, 7]
    cuda = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: len(peaks),
        max_memory_allocated=peaks.__getitem__,
        get_device_name=["H100", "H200"].__getitem__,
    )
    found = memory.used(SimpleNamespace(cuda=cuda))
    assert found == {"device": "H100", "peak_memory_bytes": 7}
