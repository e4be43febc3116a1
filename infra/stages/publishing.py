"""Puts a finished run together: verdicts, provenance, and how it stands beside earlier ones."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from infra.contracts.records import (
    ArmResult,
    Comparison,
    Judgement,
    Pair,
    Pooled,
    Report,
    TaskScores,
    Verdict,
)
from infra.contracts.specs import BASELINE, RunSpec
from infra.conversations import overlap
from infra.judging import answered_rows, gate
from infra.judging.comparison import change_name, compare_against
from infra.judging.family import together
from infra.judging.pairing import RunRows
from infra.judging.power import planned
from infra.judging.verdict import decide
from infra.machine.device import detect
from infra.report.trend import alerts
from infra.stages import cutting
from infra.stages.passages import sentences
from infra.stages.run_key import INPUTS, RunInputs, key_of_finished
from infra.store.run_folder import RunFolder, runs_folder
from infra.store.settings import Settings
from infra.suite.rows import read_rows

_PACKAGES = ("prefect", "lm-eval", "transformers", "datasets", "huggingface_hub", "modelscope")


def assemble(
    arms: Mapping[str, ArmResult],
    compared: Mapping[str, Comparison],
    failed: Mapping[str, str],
    spec: RunSpec,
    run: RunFolder,
    *,
    settings: Settings,
    prefect_url: str,
) -> Report:
    """Return the report of a finished run.

    Args:
        arms: The baseline, then every candidate that was evaluated.
        compared: Candidate → its comparison with the baseline.
        failed: Candidate → why there is no result of it.
        spec: The run.
        run: Knows the timings.
        settings: This machine's.
        prefect_url: Page of the flow run.
    """
    inputs = RunInputs.model_validate_json(
        (run.path / f"{INPUTS}.json").read_text(encoding="utf-8")
    )
    power, margin = planned(spec.judged_verdict, run.path)
    judged = {
        name: _judged(name, comparison, margin, arms, spec, run, settings)
        for name, comparison in together(compared).items()
    }
    stages = run.stages()
    finished = Report(
        run_id=run.id,
        created=datetime.now(UTC),
        spec=spec,
        arms=dict(arms),
        judged=judged,
        failed=dict(failed),
        verdict=gate.overall(
            {name: one.verdict for name, one in judged.items()},
            failed,
            spec.verdict.gate,
            *margin,
        ),
        power=power,
        timings={stage.name: stage.seconds for stage in stages},
        reused=tuple(_reused([stage.name for stage in stages if stage.reused], arms)),
        provenance={
            **_provenance(arms, spec, inputs.commit),
            **sentences(arms[BASELINE].tasks, run),
            **cutting.sentences(arms[BASELINE].tasks, run),
            "prefect_url": prefect_url,
            "run_key": key_of_finished(inputs, arms, spec, settings) or "",
        },
    )
    return finished.model_copy(
        update={"judged": {pair.name: beside_earlier(pair, settings) for pair in finished.pairs}}
    )


def _judged(
    name: str,
    comparison: Comparison,
    margin: tuple[float, float | None],
    arms: Mapping[str, ArmResult],
    spec: RunSpec,
    run: RunFolder,
    settings: Settings,
) -> Judgement:
    baseline, candidate = arms[BASELINE], arms[name]
    answered: dict[str, TaskScores] | None = None
    if spec.verdict.early_stop:
        answered = answered_rows.answered_of(
            baseline, candidate, run.path, answered_rows.SAMPLES.format(name)
        ).tasks
    calibration = candidate.checkpoint.calibration
    return Judgement(
        comparison=comparison,
        verdict=verdict_of(name, comparison, spec, margin, baseline),
        answered=answered,
        against=compare_against(name, arms, spec, RunRows(run.path)),
        overlap=overlap.of_run(
            {
                name: (row.doc for row in read_rows(run.path / scores.samples, name))
                for name, scores in (answered or baseline.tasks).items()
            },
            calibration,
            settings=settings,
        )
        if calibration
        else None,
    )


def verdict_of(
    name: str,
    comparison: Comparison,
    spec: RunSpec,
    margin: tuple[float, float | None],
    baseline: ArmResult,
) -> Verdict:
    """Return the verdict on one candidate.

    Args:
        name: Of the candidate.
        comparison: With the baseline.
        spec: The run.
        margin: To hold it against, and the one of the spec if that was widened; points.
        baseline: Over all its rows.
    """
    pooled: Pooled | None = comparison.pooled
    return decide(
        comparison,
        spec.verdict,
        candidates=len(spec.candidates),
        what=change_name(spec, name),
        margin_points=margin[0],
        widened_from=margin[1],
        stopped_after=pooled.rows if pooled and spec.verdict.early_stop else None,
        of=sum(baseline.tasks[task].distinct for task in pooled.tasks) if pooled else None,
    )


def beside_earlier(pair: Pair, settings: Settings) -> Judgement:
    """Return a judgement that also says how the candidate stands beside earlier runs."""
    try:
        found = {"alert": alerts.alert(pair, runs_folder(pair.spec.results, settings))}
    except Exception as error:
        # Rows of other runs, in a table that anybody may edit, must not cost this one its report.
        return pair.judgement.model_copy(
            update={"not_compared": f"{type(error).__name__}: {error}"}
        )
    return pair.judgement.model_copy(update=found)


def _reused(stages: list[str], arms: Mapping[str, ArmResult]) -> Iterable[str]:
    yield from stages
    for name, arm in arms.items():
        if f"evaluate-{name}" not in stages:
            yield from (f"evaluate-{name}: {t.name}" for t in arm.tasks.values() if t.reused)


def _provenance(arms: Mapping[str, ArmResult], spec: RunSpec, commit: str | None) -> dict[str, str]:
    device = detect(spec.baseline.serving.computes_on)
    facts = {f"version of {name}": importlib.metadata.version(name) for name in _PACKAGES}
    for arm in arms.values():
        # Python and transformers of a quantizer are not those of this process.
        facts |= {
            f"version of {name}": version
            for name, version in arm.checkpoint.versions.items()
            if f"version of {name}" not in facts and name != "python"
        }
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
