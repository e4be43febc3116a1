"""Timings as tests want them."""

from __future__ import annotations

from typing import Any

from infra.contracts.records import Bench, MemoryAtLoad, SpeedPoint

POINT = SpeedPoint(
    input_tokens=128, output_tokens=64, concurrency=1, requests=32, failed=0,
    ttft_ms_median=100.0, ttft_ms_p99=150.0, tpot_ms_median=10.0, tpot_ms_p99=12.0,
    output_tokens_per_second=80.0, total_tokens_per_second=240.0, requests_per_second=1.25,
    seconds=25.6,
)  # fmt: skip


def point(**fields: Any) -> SpeedPoint:
    """Return a point with some fields changed."""
    return POINT.model_copy(update=fields)


def bench(*points: SpeedPoint, reused: bool = False) -> Bench:
    """Return the timings of one arm."""
    return Bench(
        engine_version="0.32.0",
        device="a processor",
        points=points,
        memory=MemoryAtLoad(weights_bytes=None, kv_cache_tokens=4096, process_bytes=2**30),
        command=("python", "-m", "vllm.entrypoints.cli.main", "bench", "serve"),
        seconds=30.0,
        reused=reused,
    )
