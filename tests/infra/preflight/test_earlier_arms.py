"""Which arms of earlier runs count, and what of them was paid for in their own run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.overrides import override
from deployments.recipes import sample
from infra.contracts.records import Adjustment, Restart
from infra.contracts.specs import BASELINE, RunSpec
from infra.engines.registry import engine_of
from infra.machine.device import Device, detect
from infra.machine.environments import locate
from infra.models.memory_need import from_config
from infra.preflight.earlier_arms import EAGER, EarlierArm, PlannedArm, Span, earlier_arms
from infra.store.settings import Settings
from tests.conftest import ROOT
from tests.infra.preflight.earlier_reports import Machine, Took

CANDIDATE = "awq-4bit-g128"
H200 = Device(kind="cuda", name="NVIDIA H200", count=1, memory_bytes=2**37, driver="580.95.05")
TOOK = {
    BASELINE: Took(start=57, each=0.01, timing=18, beside=5),
    CANDIDATE: Took(start=61, each=0.02, timing=16, beside=9, making=45),
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(ROOT)
    return Settings(cache=tmp_path / "cache", runs=tmp_path / "runs")


@pytest.fixture
def there(tmp_path: Path, settings: Settings) -> Machine:
    return Machine(tmp_path, settings, H200)


def planned(machine: Machine, spec: RunSpec, name: str) -> PlannedArm:
    arm = spec.baseline if name == BASELINE else [*spec.arms.values()][-1]  # whatever it is called
    config = json.loads((ROOT / arm.model.id / "config.json").read_text())
    environment, _ = locate(
        engine_of(arm.serving).environment, machine.device.kind, machine.settings
    )
    return PlannedArm(name, arm, from_config(config, 8_147_080), machine.device, environment)


def newest(machine: Machine, name: str) -> EarlierArm:
    return next(one for one in earlier_arms(machine.settings.runs) if one.name == name)


def test_a_span_is_the_median_of_the_newest_ten() -> None:
    assert Span.of([None, 3.0, 1.0, 8.0]) == Span(3, 1, 8)
    assert Span.of([*[5.0] * 10, 1000.0]) == Span(5, 5, 5)
    assert Span.of([None]) is None
    assert Span(2, 1, 3) + Span(1, 1, 2).times(10) == Span(12, 11, 23)


def test_what_an_arm_took_is_parted(there: Machine) -> None:
    there.ran(sample(), TOOK)
    one = newest(there, CANDIDATE)
    assert (one.start, one.timing, one.making) == (61, 16, 45)
    assert one.beside == pytest.approx(9)
    assert newest(there, BASELINE).making is None


def test_the_turns_of_other_runs_are_no_part_of_it(there: Machine) -> None:
    report = there.ran(sample(), TOOK)
    result = report.arms[CANDIDATE]
    stage = f"evaluate-{CANDIDATE}"
    waited = result.speed.model_copy(update={"waited_seconds": 3600.0})
    there.write(
        report.model_copy(update={
            "arms": {CANDIDATE: result.model_copy(update={"speed": waited})},
            "timings": {**report.timings, stage: report.timings[stage] + 3600},
        }),
        there.runs[0],
    )  # fmt: skip
    assert newest(there, CANDIDATE).beside == pytest.approx(9)


def test_what_another_run_had_paid_for_took_no_time(there: Machine) -> None:
    report = there.ran(sample(), TOOK)
    result = report.arms[CANDIDATE]
    kept = {name: scores.model_copy(update={"reused": True}) for name, scores in
            result.tasks.items()}  # fmt: skip
    assert result.bench is not None
    bench = result.bench.model_copy(update={"reused": True})
    whole = result.model_copy(update={"tasks": kept, "bench": bench})
    part = result.model_copy(update={"tasks": {**kept, "gsm8k": result.tasks["gsm8k"]}})
    folder = there.runs[0]
    reused = {"reused": (f"quantize-{CANDIDATE}",)}
    there.write(report.model_copy(update={"arms": {CANDIDATE: whole}, **reused}), folder)
    one = newest(there, CANDIDATE)
    assert (one.start, one.timing, one.beside, one.making) == (None, None, None, None)
    there.write(report.model_copy(update={"arms": {CANDIDATE: part}}), folder)
    one = newest(there, CANDIDATE)
    assert (one.start, one.timing, one.beside, one.making) == (61, 16, None, 45)
    again = result.server.model_copy(update={"restarts": (Restart(reason="x", answered=1),)})
    there.write(
        report.model_copy(
            update={"arms": {CANDIDATE: result.model_copy(update={"server": again})}}
        ),
        folder,
    )
    assert newest(there, CANDIDATE).beside is None


def test_the_newest_reports_are_read_and_what_is_none_is_passed_over(there: Machine) -> None:
    for seconds in range(40):
        there.ran(sample(), {BASELINE: Took(start=seconds, each=0.01)})
    runs = there.settings.runs
    (runs / "run-40" / "report.json").write_text("{")
    (runs / "run-39" / "inputs.json").unlink()
    (runs / "run-38" / "inputs.json").write_text("7")
    without = json.loads((runs / "run-37" / "report.json").read_text())
    without["arms"] = {"of no spec": without["arms"][BASELINE]}
    (runs / "run-37" / "report.json").write_text(json.dumps(without))
    (runs / "run-36" / "report.json").write_text('{"schema_version": 3, "calibration": {"x": 1}}')
    (runs / "of-an-endpoint").mkdir()
    (runs / "of-an-endpoint" / "report.json").write_text('{"endpoint": {}}')
    found = [one.start for one in earlier_arms(runs)]
    assert found == [38.0, 37.0, *map(float, range(34, 10, -1))]
    assert [*earlier_arms(runs / "nowhere")] == []


def test_arms_count_that_are_served_alike_on_the_same_device(there: Machine) -> None:
    spec = override(sample(), ["serving.enforce_eager=false"])
    there.ran(spec, TOOK)
    earlier = {name: newest(there, name) for name in (BASELINE, CANDIDATE)}

    def counts(*given: str, name: str = BASELINE, **changes: object) -> bool:
        arm = planned(there, override(spec, given), name)
        return replace(arm, **changes).like(earlier[name])  # type: ignore[arg-type]

    assert counts() and counts(name=CANDIDATE)
    assert counts("serving.max_restarts=5", "serving.startup_timeout_seconds=60")
    assert not counts("serving.max_model_len=1024")
    assert not counts("serving.enforce_eager=true")
    assert not counts(device=H200.model_copy(update={"name": "NVIDIA L4"}))
    other, _ = locate("vllm", "cpu", there.settings)
    assert not counts(environment=other)
    assert not counts("quantization.group_size=64", name=CANDIDATE)
    assert counts("quantization.calibration.path=other.jsonl", name=CANDIDATE)
    assert not counts("quantization.calibration.max_samples=64", name=CANDIDATE)
    assert not planned(there, spec, CANDIDATE).like(earlier[BASELINE])


def test_what_was_served_eager_since_it_did_not_fit_was_eager(there: Machine) -> None:
    spec = override(sample(), ["serving.enforce_eager=false", "serving.adjust=true"])
    report = there.ran(spec, TOOK)
    changed = Adjustment(field=EAGER, before="False", after="True", reason="x")
    result = report.arms[BASELINE]
    server = result.server.model_copy(update={"adjustments": (changed,)})
    arms = {BASELINE: result.model_copy(update={"server": server})}
    there.write(report.model_copy(update={"arms": arms}), there.runs[0])
    one = newest(there, BASELINE)
    assert not planned(there, spec, BASELINE).like(one)
    eager = override(spec, ["serving.enforce_eager=true"])
    assert planned(there, eager, BASELINE).like(one)


def test_on_a_processor_all_is_eager_and_the_cores_count(
    tmp_path: Path, settings: Settings
) -> None:
    machine = Machine(tmp_path, settings, detect("cpu"))
    machine.ran(override(sample(), ["serving.enforce_eager=false"]), TOOK)
    one = newest(machine, BASELINE)
    arm = planned(machine, sample(), BASELINE)
    assert arm.like(one)
    assert not arm.like(replace(one, inputs={"cores": 1024}))
    # As many of them, but in a container that could take the time of few.
    assert not arm.like(replace(one, inputs={**one.inputs, "threads": 1024}))
    assert arm.like(replace(one, inputs={"cores": 1024, "threads": machine.device.threads}))
    assert arm.like(replace(one, inputs={}))  # of an earlier version, which did not say


def test_another_model_of_the_same_shape_and_size_counts(there: Machine, tmp_path: Path) -> None:
    tuned = tmp_path / "tuned"
    tuned.mkdir()
    config = json.loads((ROOT / "infra/sample/model/config.json").read_text())
    spec = override(sample(), [f"model.id={tuned}"])
    report = there.ran(spec, TOOK)
    arm, made = (planned(there, sample(), name) for name in (BASELINE, CANDIDATE))

    def there_is(size: int, **changes: object) -> None:
        (tuned / "config.json").write_text(json.dumps({**config, **changes}))
        arms = {
            name: result.model_copy(update={"checkpoint": result.checkpoint.model_copy(
                update={"path": tuned, "size_bytes": size}
            )})
            for name, result in report.arms.items()
        }  # fmt: skip
        there.write(report.model_copy(update={"arms": arms}), there.runs[0])

    assert not arm.like(newest(there, BASELINE))  # its files are gone
    there_is(8_147_080)
    assert arm.like(newest(there, BASELINE)) and made.like(newest(there, CANDIDATE))
    assert not replace(arm, shape=None).like(newest(there, BASELINE))
    there_is(2_916_464)  # a quantized one of the same shape, and what the same recipe made
    assert not arm.like(newest(there, BASELINE)) and made.like(newest(there, CANDIDATE))
    there_is(8_147_080, num_hidden_layers=2)
    assert not arm.like(newest(there, BASELINE))


def test_a_checkpoint_is_there_until_its_folder_or_its_conversations_change(
    there: Machine, tmp_path: Path
) -> None:
    talks = tmp_path / "talks.jsonl"
    talks.write_text("{}\n")
    spec = override(sample(), [f"quantization.calibration.path={talks}"])
    report = there.ran(spec, TOOK)
    result = report.arms[CANDIDATE]
    card = result.checkpoint.calibration
    assert card is not None
    source = planned(there, spec, CANDIDATE)._conversations
    left = result.checkpoint.model_copy(
        update={"path": tmp_path, "calibration": card.model_copy(update={"source": source})}
    )
    arms = {CANDIDATE: result.model_copy(update={"checkpoint": left})}
    there.write(report.model_copy(update={"arms": arms}), there.runs[0])
    one = newest(there, CANDIDATE)
    assert planned(there, spec, CANDIDATE).is_made(one)
    other = override(spec, ["quantization.group_size=64"])
    assert not planned(there, other, CANDIDATE).is_made(one)
    talks.write_text("{} \n")
    assert not planned(there, spec, CANDIDATE).is_made(one)
    talks.write_text("{}\n")
    gone = left.model_copy(update={"path": tmp_path / "gone"})
    assert not planned(there, spec, CANDIDATE).is_made(
        replace(one, result=result.model_copy(update={"checkpoint": gone}))
    )
