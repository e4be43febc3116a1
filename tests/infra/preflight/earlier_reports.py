"""Reports of runs that took a stated time, in a folder of runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.contracts.records import ArmResult, Reading, Report
from infra.contracts.specs import ArmSpec, RunSpec
from infra.engines.registry import engine_of
from infra.machine.device import Device
from infra.machine.environments import locate
from infra.store.settings import Settings
from tests.infra.made_records import make_bench
from tests.infra.made_runs import make_run


@dataclass(frozen=True)
class Took:
    """What one arm took, in seconds."""

    start: float
    each: float
    """Of one row of any task."""

    timing: float = 0.0
    """Nothing is timed without."""

    beside: float = 0.0
    making: float = 0.0
    """Nothing is made without."""


class Machine:
    """A folder of runs, and what its runs compute on."""

    def __init__(self, folder: Path, settings: Settings, device: Device) -> None:
        self.settings = settings
        self.device = device
        self.template = make_run(folder / "template", rows=8)
        self.runs: list[Path] = []
        """Their folders, oldest first."""

    def ran(
        self,
        spec: RunSpec,
        took: Mapping[str, Took],
        *,
        rows: int = 100,
        inputs: Mapping[str, Any] | None = None,
    ) -> Report:
        """Leave the report of a run, newer than those before it.

        Args:
            spec: The run; its arms have these names.
            took: Arm → what it took.
            rows: Of each task.
            inputs: What it started from, besides the cores.
        """
        timings = {}
        for name, one in took.items():
            if one.making:
                timings[f"quantize-{name}"] = one.making
            asking = one.each * rows * len(spec.evaluation.tasks)
            timings[f"evaluate-{name}"] = one.start + asking + one.timing + one.beside - 1
            timings[f"compare-{name}"] = 1.0
        specs = spec.arms
        arms = {name: self._arm(spec, specs[name], one, rows) for name, one in took.items()}
        report = self.template.model_copy(
            update={
                "spec": spec, "timings": timings, "reused": (), "judged": {},
                "arms": arms,
            }
        )  # fmt: skip
        folder = self.settings.runs / f"run-{len(self.runs) + 1}"
        folder.mkdir(parents=True)
        self.runs.append(folder)
        started = {"cores": self.device.cores, **(inputs or {})}
        (folder / "inputs.json").write_text(json.dumps(started))
        self.write(report, folder)
        return report

    def write(self, report: Report, folder: Path) -> None:
        """Write a report, as old as its run's number says."""
        path = folder / "report.json"
        path.write_text(report.model_dump_json())
        os.utime(path, (self.runs.index(folder), self.runs.index(folder)))

    def _arm(self, spec: RunSpec, arm: ArmSpec, took: Took, rows: int) -> ArmResult:
        template = self.template.arms["quantized" if arm.quantization else "baseline"]
        environment, _ = locate(engine_of(arm.serving).environment, self.device.kind, self.settings)
        command = (str(environment.python), *template.server.command[1:])
        wanted = [task.name for task in spec.evaluation.tasks]
        bench = make_bench(False).model_copy(update={"seconds": took.timing})
        reading = Reading(texts="t", file="f", documents=4, tokens=64, nll=1.0, perplexity=2.7)
        return template.model_copy(
            update={
                "server": template.server.model_copy(
                    update={
                        "command": command, "startup_seconds": took.start,
                        "device": self.device.name,
                    }
                ),
                "tasks": {
                    name: scores.model_copy(
                        update={"n": rows, "seconds": took.each * rows, "reused": False}
                    )
                    for name, scores in template.tasks.items()
                    if name in wanted
                },
                "bench": bench if took.timing else None,
                "reading": reading if spec.fidelity.enabled else None,
            }
        )  # fmt: skip
