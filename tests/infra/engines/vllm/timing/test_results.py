from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.engines.timing import Point
from infra.engines.vllm.timing.results import Response, Result, speed_point
from infra.machine.energy import Meter
from infra.machine.nvml import Answer, Card, Process

GOLDEN = Path(__file__).parents[3] / "golden" / "bench_response.json"
POINT = Point(input_tokens=128, output_tokens=32, concurrency=1, requests=16)
METER = Meter(("GPU-1",), lambda: [436])


def told(millijoules: int | None, *pids: int) -> str:
    card = Card(
        index=0, uuid="GPU-1", name="a GPU", memory_bytes=1, energy_millijoules=millijoules,
        processes=tuple(Process(pid=pid, memory_bytes=None) for pid in pids),
    )  # fmt: skip
    return Answer(error=None, gpus=(card,)).model_dump_json()


def result(*readings: tuple[str, str], failed: int = 0) -> Result:
    whole = json.loads(GOLDEN.read_text())
    whole["results"][0] |= {"readings": readings, "failed": failed}
    return Response.model_validate_json(json.dumps(whole)).results[0]


def test_the_energy_of_all_parts_is_that_of_the_point() -> None:
    found = result((told(1_000), told(401_000)), (told(900_000), told(1_524_000)))
    point = speed_point(POINT, found, METER)
    assert point.joules == pytest.approx(400 + 624)
    # 16 answers of 32 tokens; the prompts had 2,049 tokens together.
    assert point.joules_per_output_token == pytest.approx(1024 / 512)
    assert point.joules_per_token == pytest.approx(1024 / (512 + 2049))


@pytest.mark.parametrize(
    "readings",
    [
        [],
        [(told(1_000), told(None))],
        [(told(1_000), told(2_000)), (told(3_000), "")],
        [(told(1_000), told(2_000)), (told(3_000, 436), told(4_000, 436, 17))],
    ],
)
def test_what_is_not_known_of_each_part_is_not_told(readings: list[tuple[str, str]]) -> None:
    point = speed_point(POINT, result(*readings), METER)
    assert (point.joules, point.joules_per_output_token, point.joules_per_token) == (None,) * 3


def test_without_a_meter_nothing_is_told() -> None:
    assert speed_point(POINT, result((told(1_000), told(2_000))), None).joules is None


def test_where_requests_failed_no_token_has_a_price() -> None:
    point = speed_point(POINT, result((told(1_000), told(2_000)), failed=1), METER)
    assert point.joules == 1
    assert point.joules_per_output_token is None
