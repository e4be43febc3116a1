"""Servers that stand in for the engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.contracts.progress import Progress
from infra.engines.live import LiveServer
from infra.engines.vllm.server import serve_command
from infra.machine import ports
from tests.process_marks import Marked

SERVER = Path(__file__).parents[3] / "servers_for_tests.py"
KEY = "secret-key-of-the-test"


@contextmanager
def serving(
    marked: Marked, log: Path, progress: Progress, *faults: str, hang_seconds: float = 300.0
) -> Iterator[LiveServer]:
    port = ports.find_free()
    with serve_command(
        [sys.executable, "-I", "-u", str(SERVER), str(port), "base-1", *faults],
        env=marked.env | {"VLLM_API_KEY": KEY},
        port=port, served_name="base-1", api_key=KEY, chat=False, concurrency=8,
        device_name="a processor", timeout_seconds=120, hang_seconds=hang_seconds,
        log=log, progress=progress,
    ) as server:  # fmt: skip
        yield server
