"""Times a real engine that another test has started: a start costs more than all of this."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import (
    AwqSpec,
    CalibrationSpec,
    EvaluationSpec,
    ModelSpec,
    RunSpec,
    ServingSpec,
    SpeedSpec,
    TaskSpec,
)
from infra.engines.live import LiveServer
from infra.machine.energy import Meter
from infra.probes.speed import BenchProbe
from tests.conftest import PrintProgress
from tests.infra.probes.subjects import checkpoint_at, subject_of
from tests.secret_search import files_with, watched
from tests.stand_in_driver import present


def time_it(server: LiveServer, model: Path, environment: PythonEnvironment, folder: Path) -> None:
    """Time a server of the sample model by the real `vllm bench serve`; check all it gives."""
    spec = RunSpec.short(
        model=ModelSpec(source="local", id=str(model)),
        quantization=AwqSpec(calibration=CalibrationSpec(path="unused")),
        serving=ServingSpec(device="cpu"),
        evaluation=EvaluationSpec(tasks=(TaskSpec(name="gsm8k"),)),
        speed=SpeedSpec(
            input_tokens=(24, server.window), output_tokens=4, concurrencies=(1, 2),
            requests=12, precision=0,
        ),
    )  # fmt: skip
    probe = BenchProbe(
        subject_of(
            spec, checkpoint_at(model), folder, environment=environment, progress=PrintProgress()
        )
    )
    key = server.api_key.get_secret_value()
    gpu = {"uuid": "GPU-1", "energy": 1_000, "watts": 500}
    metered = replace(server, meter=Meter(("GPU-1",), list))
    with (
        watched([], "") as seen,
        pytest.MonkeyPatch.context() as patch,
        present(folder, [gpu], patch),
    ):
        probe.take(metered, restarts_left=0)
    bench = probe.found()
    assert bench is not None
    assert [(point.input_tokens, point.concurrency) for point in bench.points] == [(24, 1), (24, 2)]
    for point in bench.points:
        assert point.joules is not None, "the real command asks where its meter is read"
        assert point.joules >= 500 * point.seconds
        assert (point.requests, point.failed) == (12, 0), "of two parts"
        assert point.half_width is not None and 0 < point.half_width < 5
        assert 0 < point.ttft_ms_median <= point.ttft_ms_p99
        assert 0 < point.tpot_ms_median <= point.tpot_ms_p99
        firsts, further = zip(*point.answers, strict=True)
        assert np.median(firsts) == pytest.approx(point.ttft_ms_median, rel=1e-6)
        assert np.median(further) == pytest.approx(point.tpot_ms_median, rel=1e-6)
        assert point.goodput(max(firsts), None) == pytest.approx(
            point.requests_per_second, rel=1e-6
        )
        # 24 tokens are read for every 4 that are written, but for few that are read otherwise.
        assert 6 < point.total_tokens_per_second / point.output_tokens_per_second < 8
    assert bench.engine_version == server.record.version
    assert bench.memory.kv_cache_tokens is not None
    assert bench.memory.kv_cache_tokens >= server.window
    assert bench.memory.process_bytes is not None
    assert bench.memory.process_bytes > 2**28  # torch alone takes more
    assert any("bench_serve.py" in command for command in seen.commands)
    assert not [command for command in seen.commands if key in command]
    assert files_with([key], [folder]) == []
