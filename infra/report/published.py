"""Scores and speed of a run in the form in which the makers of Qwen publish theirs.

So that both can be set beside each other: one row an arm with scores in hundredths, and one row a
length of the prompt and arm with the tokens that are written each second, one request at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from csv import DictWriter
from io import StringIO
from pathlib import Path

from infra.contracts.errors import ReceiptError
from infra.contracts.records import ArmResult, MetricValue, Report
from infra.engines.registry import title
from infra.report.grid import grid
from infra.report.receipt.sealing import NAME
from infra.report.tables import Table
from infra.suite.metrics import in_points

_HEADS = {"mmlu": "MMLU", "ceval-valid": "C-Eval", "ifeval": "IFEval"}
"""Task → how it is called where scores are published; others by their name."""

_DTYPES = {"bfloat16": "BF16", "float16": "FP16", "float32": "FP32"}
_GPUS = ("NVIDIA", "Tesla")
"""Beginnings of the names that the driver gives them; a record says no more of what a device is."""

_GB = 1e9
_QUALITY, _SPEED = "Quality", "Speed"

SPEED_NOTE = (
    "Speed: tokens written, over the time from the request to the last of them. GPU memory: the "
    "weights as loaded (an engine that takes its whole share of the device at the start takes "
    "more); where the engine does not say, as on a processor, all that its processes hold."
)


def read(path: Path) -> Report:
    """Return the report of a finished run.

    Args:
        path: A run's `report.json`, or the run's folder.

    Raises:
        ReceiptError: There is no such report.
    """
    file = path / NAME if path.is_dir() else path
    try:
        return Report.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReceiptError(
            f"{file} is no report of a run with a baseline.",
            cause=str(error).splitlines()[0],
            remedy="Name the report.json of a run, or its folder.",
        ) from error


def text(report: Report, *, csv: bool) -> str:
    """Return both tables, without one that the run has nothing for.

    Args:
        report: The run.
        csv: As CSV instead of Markdown.
    """
    found = [table for table in (quality(report), speed(report)) if table.rows]
    if csv:
        return "\n".join(_csv(table) for table in found).strip()
    parts = [f"## {table.caption}\n\n{grid(table.rows)}" for table in found]
    if any(table.caption == _SPEED for table in found):
        parts.append(SPEED_NOTE)
    return "\n\n".join(parts) or "The run has no task with a score in points, and no timing."


def quality(report: Report) -> Table:
    """Return one row an arm: its scores, and their average where it has all of them."""
    names = [
        name
        for name, task in report.baseline.tasks.items()
        if (value := task.metrics.get(task.primary_metric))
        and in_points(task.primary_metric, name, value)
    ]
    rows = []
    for label, arm in _labelled(report):
        scores = {name: 100 * one.value for name in names if (one := _score(arm, name, report))}
        whole = len(scores) == len(names)
        if not names:
            continue
        rows.append(
            {
                "Model": _model(report),
                "Quantization": label,
                "Average": f"{sum(scores.values()) / len(names):.1f}" if whole else "-",
                **{
                    _HEADS.get(name, name): f"{scores[name]:.1f}" if name in scores else "-"
                    for name in names
                },
            }
        )
    return Table(_QUALITY, rows)


def speed(report: Report) -> Table:
    """Return one row a length of the prompt and arm, of what was timed one request at a time."""
    places = sorted(
        {
            (point.input_tokens, point.output_tokens)
            for arm in report.arms.values()
            if arm.bench
            for point in arm.bench.points
            if point.concurrency == 1
        }
    )
    rows = [
        {
            "Model": _model(report),
            "Input Length": str(length),
            "Framework": title(arm.server.engine),
            "Quantization": label,
            "GPU Num": _gpus(report, name),
            "Speed (tokens/s)": f"{point.output_tokens_per_second:.2f}",
            "GPU Memory (GB)": _memory(arm),
        }
        for length, written in places
        for name, (label, arm) in zip(report.arms, _labelled(report), strict=True)
        for point in (arm.bench.points if arm.bench else ())
        if (point.input_tokens, point.output_tokens, point.concurrency) == (length, written, 1)
    ]
    return Table(_SPEED, rows)


def _labelled(report: Report) -> Iterator[tuple[str, ArmResult]]:
    """Return every arm with its quantization as it is called where such are published."""
    labels = {name: _quantization(arm) for name, arm in report.arms.items()}
    often = Counter(labels.values())
    for name, arm in report.arms.items():
        alone = often[labels[name]] == 1
        yield labels[name] if alone else f"{labels[name]} ({name})", arm


def _quantization(arm: ArmResult) -> str:
    form = arm.checkpoint.format
    if form is None:
        dtype = (arm.server.dtype or "").removeprefix("torch.")
        return _DTYPES.get(dtype, dtype or "as published")
    bits = {scheme.bits for scheme in form.schemes}
    if form.method == "gptq" and len(bits) == 1 and None not in bits:
        return f"GPTQ-Int{bits.pop()}"
    return form.name if form.method == "awq" else form.description


def _score(arm: ArmResult, task: str, report: Report) -> MetricValue | None:
    metric = report.baseline.tasks[task].primary_metric
    return arm.tasks[task].metrics.get(metric) if task in arm.tasks else None


def _model(report: Report) -> str:
    return report.spec.baseline.model.id.rstrip("/").rpartition("/")[2]


def _gpus(report: Report, arm: str) -> str:
    serving = report.spec.arms[arm].serving
    named = report.arms[arm].server.device.startswith(_GPUS)
    on_gpu = named if serving.computes_on == "auto" else serving.computes_on == "cuda"
    return str(serving.tensor_parallel_size) if on_gpu else "0"


def _memory(arm: ArmResult) -> str:
    memory = arm.bench.memory if arm.bench else None
    found = memory and (memory.weights_bytes or memory.process_bytes)
    return f"{found / _GB:.2f}" if found else "-"


def _csv(table: Table) -> str:
    out = StringIO()
    writer = DictWriter(out, table.rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.rows)
    return out.getvalue()
