"""A run's numbers as the makers of Qwen publish theirs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from deployments.__main__ import main
from infra.contracts.records import (
    Bench,
    MemoryAtLoad,
    Quantization,
    QuantizationScheme,
    Report,
    SpeedPoint,
)
from infra.report import published
from tests.infra.made_runs import make_run

PUBLISHED = {"ifeval": 0.531, "mmlu": 0.705, "ceval-valid": 0.7724}


def point(length: int, concurrency: int, rate: float) -> SpeedPoint:
    return SpeedPoint(
        input_tokens=length, output_tokens=2048, concurrency=concurrency, requests=2, failed=0,
        ttft_ms_median=1, ttft_ms_p99=1, tpot_ms_median=1, tpot_ms_p99=1,
        output_tokens_per_second=rate, total_tokens_per_second=9, requests_per_second=1, seconds=1,
    )  # fmt: skip


def timed(weights: int | None, *points: SpeedPoint) -> Bench:
    memory = MemoryAtLoad(weights_bytes=weights, kv_cache_tokens=None, process_bytes=10**11)
    return Bench(
        engine_version="1", device="a device", points=points, memory=memory, command=(), seconds=1
    )


def quantized(method: str, bits: int) -> Quantization:
    return Quantization(
        method=method, understood=True, schemes=(QuantizationScheme(bits=bits, number="int"),)
    )


def scored(tasks: dict[str, Any], by: float) -> dict[str, Any]:
    """Return the tasks under the names of those that are published, with scores less by so much."""
    found = {}
    for value, (name, score) in zip(tasks.values(), PUBLISHED.items(), strict=True):
        metric = value.metrics[value.primary_metric]
        changed = metric.model_copy(update={"value": score - by, "unit": "points"})
        metrics = {**value.metrics, value.primary_metric: changed}
        found[name] = value.model_copy(update={"name": name, "metrics": metrics})
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    report = make_run(tmp_path_factory.mktemp("run"), rows=20, candidates=3)
    forms = (None, quantized("gptq", 8), quantized("gptq", 4), quantized("awq", 4))
    arms = {}
    for place, ((name, arm), form) in enumerate(zip(report.arms.items(), forms, strict=True)):
        checkpoint = arm.checkpoint.model_copy(update={"format": form, "quantization": None})
        server = arm.server.model_copy(update={"dtype": "bfloat16", "device": "NVIDIA A100"})
        points = (point(129_024, 1, 28.944), point(1, 1, 84.276), point(1, 16, 999.0))
        bench = timed(15_230_000_000 if place else None, *points) if place < 2 else None
        arms[name] = arm.model_copy(
            update={
                "checkpoint": checkpoint, "server": server, "bench": bench,
                "tasks": scored(arm.tasks, place / 100),
            }
        )  # fmt: skip
    return report.model_copy(update={"arms": arms})


def test_scores_are_hundredths_in_the_order_of_the_tasks_with_their_average(made: Report) -> None:
    rows = published.quality(made).rows
    assert list(rows[0]) == ["Model", "Quantization", "Average", "IFEval", "MMLU", "C-Eval"]
    assert [row["Quantization"] for row in rows] == ["BF16", "GPTQ-Int8", "GPTQ-Int4", "AWQ"]
    assert list(rows[0].values())[2:] == ["66.9", "53.1", "70.5", "77.2"]
    assert list(rows[3].values())[2:] == ["63.9", "50.1", "67.5", "74.2"]


def test_a_task_that_an_arm_lacks_leaves_it_without_an_average(made: Report) -> None:
    arm = made.arms["quantized"]
    tasks = {name: task for name, task in arm.tasks.items() if name != "mmlu"}
    arms = made.arms | {"quantized": arm.model_copy(update={"tasks": tasks})}
    row = published.quality(made.model_copy(update={"arms": arms})).rows[1]
    assert (row["Average"], row["MMLU"], row["C-Eval"]) == ("-", "-", "76.2")


def test_speed_is_of_one_request_at_a_time_by_the_length_of_the_prompt(made: Report) -> None:
    rows = published.speed(made).rows
    heads = ["Model", "Input Length", "Framework", "Quantization", "GPU Num", "Speed (tokens/s)",
             "GPU Memory (GB)"]  # fmt: skip
    assert list(rows[0]) == heads
    assert [list(row.values())[1:] for row in rows] == [
        ["1", "vLLM", "BF16", "1", "84.28", "100.00"],
        ["1", "vLLM", "GPTQ-Int8", "1", "84.28", "15.23"],
        ["129024", "vLLM", "BF16", "1", "28.94", "100.00"],
        ["129024", "vLLM", "GPTQ-Int8", "1", "28.94", "15.23"],
    ]


def test_a_processor_is_no_gpu(made: Report) -> None:
    server = made.baseline.server.model_copy(update={"device": "a processor"})
    arms = made.arms | {"baseline": made.baseline.model_copy(update={"server": server})}
    rows = published.speed(made.model_copy(update={"arms": arms})).rows
    assert [row["GPU Num"] for row in rows[:2]] == ["0", "1"]


def test_arms_of_one_quantization_are_told_apart_by_name(made: Report) -> None:
    arm = made.arms["candidate-2"]
    checkpoint = arm.checkpoint.model_copy(update={"format": quantized("awq", 4)})
    arms = made.arms | {"candidate-2": arm.model_copy(update={"checkpoint": checkpoint})}
    rows = published.quality(made.model_copy(update={"arms": arms})).rows
    assert [row["Quantization"] for row in rows[2:]] == ["AWQ (candidate-2)", "AWQ (candidate-3)"]


def test_the_command_prints_both_tables(
    made: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text(made.model_dump_json())
    assert main(["table", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "| 66.9 | 53.1 | 70.5 | 77.2 |" in said
    assert "| 129024 | vLLM | BF16 | 1 | 28.94 | 100.00 |" in said
    assert main(["table", str(tmp_path / "report.json"), "--csv"]) == 0
    quality, speed = capsys.readouterr().out.split("\n\n")
    assert next(csv.DictReader(io.StringIO(quality)))["MMLU"] == "70.5"
    assert len(list(csv.DictReader(io.StringIO(speed)))) == 4


def test_what_is_no_report_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.json").write_text("{}")
    assert main(["table", str(tmp_path)]) == 2
    assert "is no report of a run" in capsys.readouterr().err
