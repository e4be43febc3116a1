"""How long a run will take, and whether its engines would cost less eager or compiled.

In seconds, and one after the other, a run takes

    making of each checkpoint
    + of each arm: start + sum over its tasks (rows x seconds a row) + timing + beside

where `beside` is what else an arm takes: the look at it, next tokens, the engine's end, comparing.
Each of these is the median of what earlier arms took that were like it, with the least and the most
beside it: of the same model or of one of the same shape and size, made and served alike by the same
environment on the same device, eager and compiled apart. What earlier runs left is not paid for
again. Downloads, environments that have to be built and the turns of other runs are not foreseen.

Nothing is decided by it. How an engine is started is in the key of every result: a choice that
moved with the history would let no run take over what the one before it left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from infra.contracts.errors import AssayError
from infra.contracts.progress import Progress, Silent
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import (
    BASELINE,
    ArmSpec,
    EvaluationSpec,
    RunSpec,
    ServingSpec,
    SpeedSpec,
)
from infra.contracts.wording import duration, listed
from infra.engines.registry import engine_of
from infra.machine.device import Device
from infra.machine.environments import locate
from infra.models import lora
from infra.models.memory_need import Shape
from infra.models.weights import inspect_spec
from infra.preflight.earlier_arms import EAGER, EarlierArm, PlannedArm, Span, earlier_arms
from infra.preflight.findings import Finding, ok
from infra.store.content import digest_of
from infra.store.run_folder import runs_folder
from infra.store.settings import Settings
from infra.store.stored_scores import REPEATED, scores_of, tokenized
from infra.suite import kind_of

_NAME = "expected time"

_WIDE = 0.1
"""Share of the usual from which on the least and the most are said."""

_ASKED = {
    *("chat_template", "chat_template_kwargs", "thinking", "fewshot_as_multiturn"),
    *("system_instruction", "concurrency"),
}
"""Conditions that make prompts and answers longer, or more of them at a time."""

_NOT_TIMED = {"enabled", "objective_ttft_ms", "objective_tpot_ms"}


def look_at(
    spec: RunSpec,
    devices: Mapping[str, Device | None],
    shapes: Mapping[str, Shape | None],
    settings: Settings,
    progress: Progress,
) -> list[Finding]:
    """Return how long the run will take, and which way to serve costs less; nothing if unknown.

    The tasks have to be loaded.

    Args:
        spec: The run.
        devices: Arm → what serves it.
        shapes: Arm → what is known of its model.
        settings: Where things are kept.
        progress: Hears about what takes long.
    """
    if not (before := [*earlier_arms(runs_folder(spec.results, settings))]):
        return []
    arms = {}
    kind = kind_of(spec.evaluation)
    try:
        for name, arm in spec.evaluated.items():
            if (device := devices[name]) is None:
                return []
            environment = _environment(arm, device, settings)
            arms[name] = PlannedArm(
                name, arm, shapes[name], device, environment, *_folders(arm, settings)
            )
        keys = kind.keys(spec.evaluation, settings=settings)
        times = kind.repeats(spec.evaluation, settings=settings, progress=progress)
        rows = kind.row_counts(spec.evaluation, settings=settings, progress=progress) or {}
    except (AssayError, OSError):
        return []  # other lines say what is wrong
    counts = {task: count * times.get(task, 1) for task, count in rows.items()}
    run = _Run(spec, arms, before, keys, counts, settings)
    found = run.forecast()
    if not found.parts and not found.kept:
        return []
    return [ok(_NAME, "; ".join([*_told(found, spec), *_other_way(run, found)]))]


@dataclass
class _Forecast:
    """What a run will take, as far as earlier runs tell."""

    parts: dict[str, Span] = field(default_factory=dict)
    """`making`, then each arm that has to be served."""

    kept: list[str] = field(default_factory=list)
    """Arms of which nothing has to be asked."""

    unknown: dict[str, list[str]] = field(default_factory=dict)
    """Arm → what of it no earlier run tells."""

    asking: float = 0.0
    """Of the usual seconds those that grow with the rows, of all arms."""

    rows: int = 0
    """That an arm is asked."""

    @property
    def total(self) -> Span:
        """Of all that is known."""
        return sum(self.parts.values(), Span())


@dataclass(frozen=True)
class _Kept:
    """What earlier runs left of an arm."""

    tasks: frozenset[str] = frozenset()
    read: bool = False
    """Whether next tokens are there, or not asked for."""

    timed: bool = False
    """The same of its timing."""


@dataclass(frozen=True)
class _Run:
    """A run, and what is known of those before it."""

    spec: RunSpec
    arms: Mapping[str, PlannedArm]
    before: Sequence[EarlierArm]
    keys: Mapping[str, str | None]
    """Task → digest of all that decides its scores besides the model; none if that is unknown."""

    counts: Mapping[str, int]
    """Task → its rows, where they are known."""

    settings: Settings
    """Where scores are kept."""

    def served_otherwise(self) -> _Run:
        """Return the same run, eager instead of compiled or the other way round.

        Raises:
            ValueError: The baseline's engine has one way alone.
        """
        serving = self.spec.baseline.serving.model_dump()
        turned = ServingSpec(**{**serving, "enforce_eager": not serving["enforce_eager"]})
        baseline = self.spec.baseline.model_copy(update={"serving": turned})
        spec = self.spec.model_copy(update={"baseline": baseline})
        arms = {name: replace(self.arms[name], spec=arm) for name, arm in spec.evaluated.items()}
        return replace(self, spec=spec, arms=arms)

    def forecast(self) -> _Forecast:
        """Return what it will take."""
        found = _Forecast()
        made: dict[str, PlannedArm] = {}
        for arm in self.arms.values():
            if arm.is_made_here and not any(map(arm.is_made, self.before)):
                parts = arm.spec.model_dump_json(include={"model", "adapter", "quantization"})
                made.setdefault(parts, arm)
        for arm in made.values():
            if span := Span.of(one.making for one in self.before if arm.made_like(one)):
                found.parts["making"] = found.parts.get("making", Span()) + span
            else:
                found.unknown[arm.name] = ["making"]
        for arm in self.arms.values():
            self._serving(arm, self._kept(arm), found)
        if self.spec.evaluation.noise_floor:
            # Neither looked at nor timed, and nothing of it is taken from the first time.
            again = self._kept(self.arms[BASELINE], repeat=True)
            self._serving(self.arms[BASELINE], again, found, repeat=True)
        return found

    def _serving(
        self, arm: PlannedArm, kept: _Kept, found: _Forecast, *, repeat: bool = False
    ) -> None:
        """Add what serving an arm takes; a repeat is asked the tasks alone, a second time."""
        name = f"{arm.name} again" if repeat else arm.name
        missing = [task for task in self.keys if task not in kept.tasks]
        if not missing and (repeat or (kept.read and kept.timed)):
            found.kept.append(name)
            return
        alike = [earlier for earlier in self.before if arm.like(earlier)]
        start = Span.of(earlier.start for earlier in alike)
        if start is None:
            found.unknown.setdefault(name, []).append("serving")
            return
        rows = 0
        parts: dict[str, Span | None] = {"start": start}
        for task in missing:
            each, count = self._rows(task, alike)
            parts[task] = each.times(count) if each and count else None
            if each and count:
                rows += count
                found.asking += each.usual * count
        found.rows = max(found.rows, rows)
        if not repeat:
            parts |= self._beside(alike, timed=kept.timed)
        found.parts[name] = sum((span for span in parts.values() if span), Span())
        if unknown := [what for what, span in parts.items() if span is None]:
            found.unknown.setdefault(name, []).extend(unknown)

    def _rows(self, task: str, alike: Sequence[EarlierArm]) -> tuple[Span | None, int | None]:
        """Return the seconds of a row of a task, and how many rows it has."""
        evaluation = self.spec.evaluation
        found = [
            (earlier.report.spec.evaluation, scores)
            for earlier in alike
            if (scores := earlier.result.tasks.get(task)) and scores.n
        ]
        asked = [
            (then, scores) for then, scores in found
            if _asked(task, then) == _asked(task, evaluation)
        ]  # fmt: skip
        each = Span.of(
            scores.seconds / scores.n for _, scores in asked if not (scores.reused or scores.kept)
        )
        as_many = (
            scores.n for then, scores in asked if _limit(task, then) == _limit(task, evaluation)
        )
        return each, self.counts.get(task) or next(as_many, None)

    def _beside(self, alike: Sequence[EarlierArm], *, timed: bool) -> dict[str, Span | None]:
        """Return what is measured beside the tasks."""
        looked, speed = _looked(self.spec), self.spec.speed
        found = {
            "what is measured beside the tasks": Span.of(
                one.beside for one in alike if _looked(one.report.spec) == looked
            )
        }
        if speed.enabled and not timed:
            found["timing"] = Span.of(
                one.timing for one in alike if _points(one.report.spec.speed) == _points(speed)
            )
        return found

    def _kept(self, arm: PlannedArm, *, repeat: bool = False) -> _Kept:
        """Return what earlier runs left of an arm, as far as that can be told at once."""
        spec, tasks, read, timed = self.spec, set[str](), False, False
        again = [REPEATED] if repeat else []
        known: dict[str, list[object] | None] = {}
        for one in self.before:
            then, checkpoint = one.report.spec, one.result.checkpoint
            # Where tasks are stopped early, what is asked depends on all arms together.
            early = spec.verdict.early_stop or then.verdict.early_stop
            if (early and arm.name != BASELINE) or not arm.is_made(one):
                continue
            if checkpoint.identity not in known:
                known[checkpoint.identity] = arm.conditions(one)
            conditions = known[checkpoint.identity]
            if conditions and digest_of(conditions) != one.result.identity:
                conditions = [*conditions, *self._tokenized(one)]
            if conditions is None or digest_of(conditions) != one.result.identity:
                continue
            found = {
                task for task, key in self.keys.items()
                if key and scores_of(self.settings, key, [*conditions, *again]).is_dir()
            }  # fmt: skip
            if not found:
                continue  # of another store, or freed
            tasks |= found
            read |= one.result.reading is not None and then.fidelity == spec.fidelity
            timed |= one.result.bench is not None and _points(then.speed) == _points(spec.speed)
        whole = len(tasks) == len(self.keys)  # next tokens may be read in the tasks' questions
        return _Kept(
            frozenset(tasks),
            not spec.fidelity.enabled or (read and whole),
            timed or not spec.speed.enabled,
        )

    def _tokenized(self, one: EarlierArm) -> list[object]:
        """Return what the tokenizer of a baseline that stayed as it was adds to the conditions of
        an earlier arm; nothing where another wrote its prompts.
        """
        specs = (self.spec, one.report.spec)
        baseline = self.arms.get(BASELINE)
        if baseline is None or any(spec.evaluation.tokenizer != "baseline" for spec in specs):
            return []
        return [
            tokenized(earlier.result.checkpoint.digest)
            for earlier in self.before
            if earlier.report is one.report and earlier.name == BASELINE
            if baseline.is_made(earlier)
        ]  # fmt: skip


def _environment(arm: ArmSpec, device: Device, settings: Settings) -> PythonEnvironment:
    own = Path(arm.serving.python) if arm.serving.python else None
    return locate(engine_of(arm.serving).environment, device.kind, settings, own)[0]


def _folders(arm: ArmSpec, settings: Settings) -> tuple[str | None, str | None]:
    """Return the digests of folders with its model and its adapter; none of what is on a hub.

    The look at the model has remembered those of large files.
    """
    model, adapter = arm.model, arm.adapter
    return (
        inspect_spec(model, settings=settings).digest if model.source == "local" else None,
        lora.inspect_local(adapter, settings=settings, progress=Silent()).digest
        if adapter and adapter.source == "local"
        else None,
    )


def _asked(task: str, evaluation: EvaluationSpec) -> object:
    """Return what decides how long a row of a task takes."""
    lines = [line.model_dump(exclude={"limit"}) for line in evaluation.tasks if line.name == task]
    return lines, evaluation.model_dump(include=_ASKED)


def _limit(task: str, evaluation: EvaluationSpec) -> list[int | None]:
    return [line.limit for line in evaluation.tasks if line.name == task]


def _looked(spec: RunSpec) -> tuple[bool, bool]:
    return spec.fidelity.enabled, spec.evaluation.triage.enabled


def _points(speed: SpeedSpec) -> object:
    return speed.enabled, speed.model_dump(exclude=_NOT_TIMED)


def _told(found: _Forecast, spec: RunSpec) -> Iterator[str]:
    """Return the whole and its parts."""
    if found.parts:
        total = found.total
        said = f"about {_rough(total.usual)}"
        if total.high - total.low > _WIDE * total.usual:
            said += f" ({_rough(total.low)} to {_rough(total.high)})"
        parts = ", ".join(f"{name} {_rough(span.usual)}" for name, span in found.parts.items())
        whole = ", if all rows are asked" if spec.verdict.early_stop else ""
        yield f"{said}{whole}: {parts}"
    if found.kept:
        yield f"{listed(found.kept)}: answered by earlier runs already"
    alike: dict[str, list[str]] = {}
    for name, unknown in found.unknown.items():
        alike.setdefault(listed(unknown), []).append(name)
    if alike:
        told = [f"{what} of {listed(names)}" for what, names in alike.items()]
        yield f"no earlier run tells of {', nor of '.join(told)}"


def _other_way(run: _Run, found: _Forecast) -> Iterator[str]:
    """Return what the other way to serve would take; nothing where that is not known."""
    if all(arm.device.kind == "cpu" for arm in run.arms.values()):
        return  # always eager there
    if run.spec.baseline_pack is not None:
        return  # its answers are of one way alone
    eager = run.spec.baseline.serving.enforce_eager
    timed = run.spec.speed.enabled
    try:
        other = run.served_otherwise().forecast()
    except ValueError:
        return
    if found.parts and other.parts and other.unknown == found.unknown:
        more = other.total.usual - found.total.usual
        amount = f"about {_rough(abs(more))} {'more' if more > 0 else 'less'}"
        yield f"{EAGER}={str(not eager).lower()} would take {amount}{_alike_at(found, other)}"
    if timed:
        yield (
            "speed times engines as they are served: "
            + ("eager, as it was asked for" if eager else "compiled, so leave them so")
        )  # fmt: skip


def _alike_at(one: _Forecast, other: _Forecast) -> str:
    """Return with how many rows both ways take as long; empty where there is no such number."""
    faster = one.asking - other.asking
    if one.rows != other.rows or not faster:
        return ""
    fixed = (other.total.usual - other.asking) - (one.total.usual - one.asking)
    rows = float(f"{one.rows * fixed / faster:.2g}")
    return f" (with {rows:,.0f} rows an arm both take as long)" if rows >= 1 else ""


def _rough(seconds: float) -> str:
    """Return a duration as exactly as anybody can know it ahead."""
    step = 1 if seconds < 120 else 10 if seconds < 1200 else 60
    return duration(round(seconds / step) * step) if seconds >= 9.5 else f"{seconds:.0f} s"
