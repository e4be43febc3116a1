"""Puts the records of a finished run together into one report."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
from datetime import UTC, datetime
from typing import Any

from infra.contracts.records import ArmResult, Comparison, QuantizedCheckpoint, Report
from infra.contracts.specs import RunSpec
from infra.conversations import overlap
from infra.judging import answered_rows as asked
from infra.judging.comparison import recipe_name
from infra.judging.power import planned
from infra.judging.verdict import decide
from infra.machine.device import detect
from infra.report.trend import alerts
from infra.stages.run_key import INPUTS, RunInputs, key_of_finished
from infra.store.run_folder import RunFolder, runs_folder
from infra.store.settings import Settings

_QUANTIZER_PACKAGES = ("autoawq", "torch")
_PACKAGES = ("prefect", "lm-eval", "transformers", "datasets", "huggingface_hub", "modelscope")


def assemble(
    base: ArmResult,
    quantized: ArmResult,
    checkpoint: QuantizedCheckpoint,
    comparison: Comparison,
    spec: RunSpec,
    run: RunFolder,
    *,
    settings: Settings,
    prefect_url: str,
) -> Report:
    """Return the report of a finished run.

    Args:
        base: The arm as it came.
        quantized: The arm that was quantized.
        checkpoint: What was quantized, and how.
        comparison: The arms, row by row.
        spec: What was asked.
        run: Knows the timings.
        settings: This machine's.
        prefect_url: Page of the flow run.
    """
    inputs = RunInputs.model_validate_json(
        (run.path / f"{INPUTS}.json").read_text(encoding="utf-8")
    )
    power, (margin_points, widened_from) = planned(spec.verdict, run.path)
    whole, pooled = base, comparison.pooled
    if spec.verdict.early_stop:
        base = asked.asked_of(whole, quantized, run.path)
    stages = run.stages()
    reused = [stage.name for stage in stages if stage.reused]
    for name, arm in (("base", base), ("quantized", quantized)):
        if f"evaluate-{name}" not in reused:
            reused += [f"evaluate-{name}: {t.name}" for t in arm.tasks.values() if t.reused]
    finished = Report(
        run_id=run.id,
        created=datetime.now(UTC),
        spec=spec,
        arms={"base": base, "quantized": quantized},
        calibration=checkpoint.calibration,
        comparison=comparison,
        verdict=decide(
            comparison,
            spec.verdict,
            what=recipe_name(spec.quantization),
            margin_points=margin_points,
            widened_from=widened_from,
            stopped_after=pooled.rows if pooled and spec.verdict.early_stop else None,
            of=sum(whole.tasks[task].n for task in pooled.tasks) if pooled else None,
        ),
        power=power,
        overlap=overlap.of_run(base, checkpoint.calibration, run.path, settings=settings),
        timings={stage.name: stage.seconds for stage in stages},
        reused=tuple(reused),
        provenance={
            **_provenance(spec, inputs.commit),
            **{f"version of {name}": checkpoint.versions[name] for name in _QUANTIZER_PACKAGES},
            "prefect_url": prefect_url,
            "run_key": key_of_finished(inputs, checkpoint.calibration) or "",
        },
    )
    return finished.model_copy(update=beside_earlier(finished, spec, settings))


def beside_earlier(finished: Report, spec: RunSpec, settings: Settings) -> dict[str, Any]:
    """Return the fields of a report that tell how it stands beside earlier runs."""
    try:
        return {"alert": alerts.alert(finished, runs_folder(spec.results, settings))}
    except Exception as error:
        # Rows of other runs, in a table that anybody may edit, must not cost this one its report.
        return {"not_compared": f"{type(error).__name__}: {error}"}


def _provenance(spec: RunSpec, commit: str | None) -> dict[str, str]:
    device = detect(spec.serving.device)
    facts = {f"version of {name}": importlib.metadata.version(name) for name in _PACKAGES}
    facts |= {
        "python": platform.python_version(),
        "host": socket.gethostname(),
        "system": platform.platform(),
        "device": f"{device.count} × {device.name}",
    }
    if device.driver:
        facts["driver"] = device.driver
    if commit:
        facts["assay commit"] = commit
    return facts
