from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

import infra
from infra.contracts.specs import (
    ArmSpec,
    AwqSpec,
    CalibrationSpec,
    CandidateSpec,
    EvaluationSpec,
    ModelSpec,
    RunSpec,
    ServingChanges,
    ServingSpec,
    TaskSpec,
)
from infra.models.memory_need import GIB
from infra.preflight import equipment
from infra.store.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache", runs=tmp_path / "runs")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An interpreter with an engine of another version."""
    python = tmp_path / "own-python"
    answer = '[{"vllm": "0.1"}, true]'
    python.write_text(f"#!/bin/sh\ncase \"$*\" in *import*) echo '{answer}';; esac\n")
    python.chmod(0o755)
    return python


def spec(*candidates: CandidateSpec, **serving: object) -> RunSpec:
    return RunSpec(
        baseline=ArmSpec(
            model=ModelSpec(id="m", source="local"),
            serving=ServingSpec.model_validate({"device": "cpu", **serving}),
        ),
        candidates=candidates,
        evaluation=EvaluationSpec(tasks=(TaskSpec(name="gsm8k"),)),
    )


def made(name: str, group_size: int = 128, **serving: object) -> CandidateSpec:
    recipe = AwqSpec(calibration=CalibrationSpec(path="c.jsonl"), group_size=group_size)
    changes = ServingChanges(**serving) if serving else None
    return CandidateSpec(name=name, quantization=recipe, serving=changes)


def test_an_environment_that_several_arms_need_is_built_once(settings: Settings) -> None:
    alone = equipment.look_at(
        spec(CandidateSpec(name="eager", serving=ServingChanges(dtype="float32"))), settings
    )
    assert alone.to_build == 3 * GIB
    found = equipment.look_at(spec(made("one"), made("two", 64)), settings)
    assert found.to_build == 2 * 3 * GIB
    names = [finding.name for finding in found.findings]
    assert [name for name in names if "environment" in name] == [
        "vllm environment", "awq environment"
    ]  # fmt: skip
    assert len(set(names)) == len(names)
    assert found.devices.keys() == {"baseline", "one", "two"}
    assert found.cache_is_usable


def test_an_interpreter_of_its_own_serves_one_candidate_and_quantizes_none(
    settings: Settings,
) -> None:
    # An interpreter that lacks the engine is refused for that arm alone.
    found = equipment.look_at(spec(made("one"), made("two", 64, python=sys.executable)), settings)
    refused = [finding for finding in found.findings if finding.status == "problem"]
    assert [finding.name for finding in refused] == ["vllm environment, two"]
    assert "serving.python" in refused[0].found + refused[0].cause + refused[0].remedy
    assert found.to_build == 2 * 3 * GIB  # the quantizer's is built once, by whatever it is served


def test_a_port_of_one_arm_is_looked_at(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = equipment.look_at(
            spec(CandidateSpec(name="there", serving=ServingChanges(port=port))), settings
        )
    (line,) = [finding for finding in found.findings if finding.name == "port"]
    assert line.status == "problem"
    assert str(port) in line.found


def test_a_cache_that_cannot_be_written_is_said(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    unusable = settings.model_copy(update={"cache": tmp_path / "file" / "cache"})
    assert not equipment.look_at(spec(made("one")), unusable).cache_is_usable


def test_what_machines_share_is_looked_at_where_there_is_any(
    settings: Settings, tmp_path: Path
) -> None:
    def found(shared: str | None) -> list[tuple[str, str]]:
        told = equipment.look_at(spec(), settings.model_copy(update={"shared": shared})).findings
        return [(one.status, one.found) for one in told if one.name == "shared results"]

    assert found(None) == []
    assert found(f"{tmp_path}/mounted") == [("ok", f"{tmp_path}/mounted")]
    ((status, text),) = found("nonsense://me:secret@bucket/x")
    assert status == "problem"
    assert "nonsense://bucket/x" in text


def test_code_that_was_written_since_it_was_loaded_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def codes() -> list[str]:
        findings = equipment.look_at(spec(), settings).findings
        return [one.found for one in findings if one.name == "code"]

    assert codes() == []
    earlier = infra.CODE["judging/__init__.py"]
    monkeypatch.setitem(infra.CODE, "stages/arms.py", earlier)
    (said,) = codes()
    assert "what this run computes is kept for no other" in said
