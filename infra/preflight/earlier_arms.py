"""What the arms of earlier runs took, and which of them took as long as an arm will.

Read from the reports in the runs folder, the newest ones alone: a history has no seconds of single
tasks, and does not say what was eager. What cannot be read tells nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from infra.contracts.errors import AssayError
from infra.contracts.records import ArmResult, PythonEnvironment, Report, TaskScores
from infra.contracts.specs import ArmSpec, ModelSpec
from infra.engines.port import Setup
from infra.engines.registry import engine_of
from infra.machine.device import Device
from infra.models.memory_need import Shape, from_config
from infra.store.content import digest_file, written_ns

EAGER = "serving.enforce_eager"

_REPORTS = 30
"""Newest reports that are read."""

_COUNTED = 10
"""Newest arms of a kind that count."""

_SAME_SIZE = 0.02
"""Share by which models of one shape may differ in size."""

_NO_MATTER = {
    *("enforce_eager", "device", "python", "port", "startup_timeout_seconds"),
    *("hang_timeout_seconds", "max_restarts", "adjust"),
}
"""Settings that are looked at apart, or cost no time."""

_WHICH_ONES = {
    *("path", "source", "config", "split", "revision", "messages_field", "min_samples"),
}
"""Fields of conversations that do not say how many they are, and how long."""


@dataclass(frozen=True)
class Span:
    """Seconds: as they mostly were, the least and the most."""

    usual: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def of(cls, seen: Iterable[float | None]) -> Span | None:
        """Return the median and the ends of the first that were seen; none if nothing was."""
        counted = [seconds for seconds in seen if seconds is not None][:_COUNTED]
        return cls(median(counted), min(counted), max(counted)) if counted else None

    def __add__(self, other: Span) -> Span:
        return Span(self.usual + other.usual, self.low + other.low, self.high + other.high)

    def times(self, count: float) -> Span:
        """Return so many of it."""
        return Span(self.usual * count, self.low * count, self.high * count)


@dataclass(frozen=True)
class EarlierArm:
    """One arm of an earlier run, and what it took in that run. All in seconds."""

    name: str
    spec: ArmSpec
    result: ArmResult
    report: Report
    inputs: Mapping[str, Any]
    """What the run started from, as its folder says; empty where it does not."""

    @property
    def eager(self) -> bool:
        """Whether it was served so, asked for or not."""
        changed = [one.field for one in self.result.server.adjustments]
        return self.spec.serving.enforce_eager or EAGER in changed

    @property
    def asked(self) -> list[TaskScores]:
        """Tasks that no run before it had answered."""
        return [scores for scores in self.result.tasks.values() if not scores.reused]

    @property
    def start(self) -> float | None:
        """Until its engine answered; none where that is of another run."""
        return self.result.server.startup_seconds if self.asked else None

    @property
    def timing(self) -> float | None:
        """Of the engine's own benchmark; none where that is of another run."""
        bench = self.result.bench
        return bench.seconds if bench and not bench.reused else None

    @property
    def beside(self) -> float | None:
        """What is left of its stages; none where part of it was kept, or it began anew."""
        timings, server = self.report.timings, self.result.server
        whole = timings.get(f"evaluate-{self.name}")
        if whole is None or server.restarts or len(self.asked) < len(self.result.tasks):
            return None
        whole += timings.get(f"compare-{self.name}", 0.0)
        answering = sum(scores.seconds for scores in self.asked)
        whole -= self.result.speed.waited_seconds + server.startup_seconds
        return max(0.0, whole - answering - (self.timing or 0.0))

    def weights_of(self, model: ModelSpec) -> set[str]:
        """Return the digests of a model in that run, as it came."""
        return {
            self.report.arms[name].checkpoint.digest
            for name, arm in self.report.spec.arms.items()
            if name in self.report.arms
            and (arm.model, arm.quantization, arm.adapter) == (model, None, None)
        }

    @property
    def making(self) -> float | None:
        """Of its checkpoint; none where nothing was made, or in another run."""
        stages = [f"{how}-{self.name}" for how in ("merge", "quantize")]
        found = [stage for stage in stages if stage in self.report.timings]
        if not found or {*found} & {*self.report.reused}:
            return None
        return sum(self.report.timings[stage] for stage in found)


def earlier_arms(runs: Path) -> Iterator[EarlierArm]:
    """Return the arms of the newest runs in a folder, newest first."""
    for path in sorted(runs.glob("*/report.json"), key=written_ns, reverse=True)[:_REPORTS]:
        try:
            report = Report.model_validate_json(path.read_text(encoding="utf-8"))
            arms = [(name, report.spec.arms[name], arm) for name, arm in report.arms.items()]
        except (AssayError, LookupError, OSError, ValueError):
            continue  # of an endpoint, of another version, or damaged
        try:
            inputs = dict(json.loads(path.with_name("inputs.json").read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError):
            inputs = {}
        for name, arm, result in arms:
            yield EarlierArm(name, arm, result, report, inputs)


@dataclass(frozen=True)
class PlannedArm:
    """One arm of the run that is planned."""

    name: str
    spec: ArmSpec
    shape: Shape | None
    device: Device
    environment: PythonEnvironment
    """Of its engine."""

    weights: str | None = None
    """Digest of what the folder of its model holds now; none of one on a hub."""

    adapter: str | None = None
    """The same of its adapter; none without one."""

    @property
    def is_made_here(self) -> bool:
        """Whether its checkpoint is made by a run."""
        adapter = self.spec.adapter
        return self.spec.quantization is not None or bool(adapter and adapter.merge)

    def like(self, earlier: EarlierArm) -> bool:
        """Return whether an earlier arm takes as long, question for question."""
        one, other = self.spec.serving, earlier.spec.serving
        command = earlier.result.server.command
        return (
            self.made_like(earlier)
            and one.model_dump(exclude=_NO_MATTER) == other.model_dump(exclude=_NO_MATTER)
            # The folder of an environment ends with the digest of what is installed in it.
            and command[:1] != ()
            and Path(command[0]).parent.parent.name == self.environment.python.parent.parent.name
            and (self.device.kind == "cpu" or one.enforce_eager == earlier.eager)
        )

    def made_like(self, earlier: EarlierArm) -> bool:
        """Return whether an earlier arm's checkpoint was made as this one's is, on this device."""
        threads = self.device.threads
        there = earlier.inputs.get("threads") or earlier.inputs.get("cores")
        return (
            earlier.result.server.device == self.device.name
            and (threads is None or there in (threads, None))
            and _recipe(self.spec) == _recipe(earlier.spec)
            and (self.spec.model.id == earlier.spec.model.id or self._of_one_shape(earlier))
        )

    def _of_one_shape(self, earlier: EarlierArm) -> bool:
        """Return whether another model has as much to compute, as its own files say."""
        there = earlier.result.checkpoint
        if self.shape is None or self.shape.guessed:
            return False
        try:
            config = json.loads((there.path / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if (other := from_config(config, there.size_bytes)) is None:
            return False
        if _form(other) != _form(self.shape):
            return False
        # What is made is as small as its recipe says.
        return self.spec.quantization is not None or math.isclose(
            other.parameters, self.shape.parameters, rel_tol=_SAME_SIZE
        )

    def is_made(self, earlier: EarlierArm) -> bool:
        """Return whether an earlier run left what this arm serves, as far as its spec tells."""
        parts = ("model", "adapter", "quantization")
        if any(getattr(self.spec, part) != getattr(earlier.spec, part) for part in parts):
            return False
        if self.weights and self.weights not in earlier.weights_of(self.spec.model):
            return False
        there = earlier.result.checkpoint
        if self.adapter and (there.adapter is None or there.adapter.digest != self.adapter):
            return False
        read = there.calibration.source if there.calibration else None
        return there.path.is_dir() and self._conversations in (read, None)

    @cached_property
    def _conversations(self) -> str | None:
        """What identifies the file that it is calibrated on; none without one."""
        recipe = self.spec.quantization
        wanted = recipe.calibration if recipe else None
        if wanted is None or wanted.source != "file":
            return None  # no hub is asked for a forecast
        try:
            return digest_file(Path(wanted.path).expanduser()).sha256
        except OSError:
            return None  # another line says so

    def conditions(self, earlier: EarlierArm) -> list[object] | None:
        """Return all that decides its answers, were its checkpoint an earlier arm's.

        None if that cannot be told.
        """
        there = earlier.result.checkpoint
        setup = Setup(
            there.path, self.spec.serving, self.environment, self.device,
            self.spec.model.trust_remote_code,
            adapter=there.adapter if there.adapter and not there.adapter.merged else None,
        )  # fmt: skip
        try:
            return engine_of(self.spec.serving).conditions(setup, there.identity)
        except (AssayError, OSError, ValueError):
            return None


def _form(shape: Shape) -> Shape:
    return replace(shape, parameters=0, window=None)


def _recipe(arm: ArmSpec) -> object:
    """Return what of an arm says how long its checkpoint takes to make, and to compute with."""
    recipe = arm.quantization
    words = recipe.model_dump(exclude={"calibration": _WHICH_ONES}) if recipe else None
    return words, arm.adapter.merge if arm.adapter else None
