"""Whole arms on an engine that answers at once."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import ComparisonError, EvaluationError, ServerDied
from infra.contracts.records import ArmResult, PythonEnvironment, Weights
from infra.contracts.specs import (
    CalibrationSpec,
    FidelitySpec,
    ModelSpec,
    QuantizationSpec,
    RunSpec,
    ServingSpec,
    SpeedSpec,
    TaskSpec,
)
from infra.judging import noise
from infra.judging.pairing import paired_rows
from infra.machine.device import detect
from infra.machine.leases import lease
from infra.models.weights import inspect_local
from infra.stages import arms
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE
from tests.infra.suite.harness.conftest import Heard, evaluation
from tests.infra.suite.harness.own_tasks import DEFINITION, write

ENGINE = Path(__file__).parents[2] / "stand_in_engine.py"
TASKS = (
    TaskSpec(name="gsm8k", num_fewshot=0, limit=12),
    TaskSpec(name="gpqa_main_zeroshot", limit=12),
)


@pytest.fixture(scope="module")
def weights() -> Weights:
    return inspect_local(SAMPLE, settings=Settings())


@pytest.fixture
def environment(tmp_path: Path) -> PythonEnvironment:
    python = tmp_path / "python"
    engine = [sys.executable, str(ENGINE), "--fuse", str(tmp_path / "fuse")]
    python.write_text(f'#!/bin/sh\nexec {shlex.join(engine)} "$@"\n')
    python.chmod(0o755)
    return PythonEnvironment(name="stand-in", python=python, digest="stand-in", provided=True)


@pytest.fixture
def heard() -> Heard:
    return Heard()


Sit = Callable[..., ArmResult]


@pytest.fixture
def sit(weights: Weights, environment: PythonEnvironment, tmp_path: Path, heard: Heard) -> Sit:
    """Return a function that lets the baseline sit; `run` names the run's folder."""

    def one(
        run: str,
        *,
        noise_floor: bool = False,
        top_k: int = 2,
        max_restarts: int = 2,
        asked_as: dict[str, Any] | None = None,
        model: Weights = weights,
        heard: Heard = heard,
        settings: Settings | None = None,
        **options: Any,
    ) -> ArmResult:
        asked_as = dict(asked_as or {})
        tasks = asked_as.pop("tasks", TASKS)
        spec = RunSpec(
            model=ModelSpec(source="local", id=str(SAMPLE)),
            quantization=QuantizationSpec(
                calibration=CalibrationSpec(path=str(SAMPLE.parent / "data" / "calibration.jsonl"))
            ),
            serving=ServingSpec(device="cpu", max_restarts=max_restarts),
            evaluation=evaluation(
                *tasks, concurrency=1, triage={"enabled": False}, noise_floor=noise_floor,
                **asked_as,
            ),
            fidelity=FidelitySpec(documents=8, top_k=top_k),
            speed=SpeedSpec(enabled=False),
        )  # fmt: skip
        return arms.evaluate(
            "baseline", model, spec,
            environment=environment, run=RunFolder(id=run, path=tmp_path / run),
            settings=settings or Settings(cache=tmp_path / "cache"), progress=heard, **options,
        )  # fmt: skip

    return one


def asked(log: Path, kind: str = "question") -> list[str]:
    lines = log.read_text().splitlines()
    return [line for line in lines if line.startswith(f"asked {kind} ")]


def test_a_second_sitting_is_asked_everything_again_in_another_order(
    sit: Sit, tmp_path: Path
) -> None:
    run, logs = tmp_path / "run", tmp_path / "run" / "logs"
    first = sit("run", noise_floor=True)
    second = sit("run", noise_floor=True, sitting=2)
    one, other = asked(logs / "server-base.log"), asked(logs / "server-base-again.log")
    assert len(one) >= 24
    assert sorted(one) == sorted(other)
    assert one != other != one[::-1]
    # Whatever the order: the same documents have the same answers.
    for name in first.tasks:
        rows = [
            (run / "samples" / arm / f"{name}.jsonl").read_text()
            for arm in ("baseline", "base-again")
        ]
        assert rows[0] == rows[1]
        assert not second.tasks[name].reused
        assert second.tasks[name].samples == f"samples/base-again/{name}.jsonl"
    assert {task.changed for task in noise.floor(first, second, run).tasks.values()} == {0}
    # It is neither read with nor looked at.
    assert first.reading is not None
    assert (second.reading, second.triage, second.bench) == (None, None, None)
    assert len(asked(logs / "server-base.log", "text")) == 8
    assert asked(logs / "server-base-again.log", "text") == []


def test_both_sittings_are_kept_and_kept_apart(sit: Sit, tmp_path: Path) -> None:
    sit("run")
    sit("run", sitting=2)
    for options in ({}, {"sitting": 2}, {"noise_floor": True}):
        again = sit("later", **options)
        assert all(task.reused for task in again.tasks.values())
    logs = {log.name for log in (tmp_path / "later" / "logs").iterdir()}
    assert logs == {"server-base-reused.log", "server-base-again-reused.log"}


def test_a_reading_is_kept_and_asked_again_for_other_figures(sit: Sit, tmp_path: Path) -> None:
    first = sit("run").reading
    assert first is not None
    assert (first.documents, first.file) == (8, "readings/base.npz")
    assert sit("later").reading == first
    assert (tmp_path / "later" / first.file).is_file()
    assert not (tmp_path / "later" / "logs" / "server-base.log").exists()
    other = sit("other", top_k=3)
    assert all(task.reused for task in other.tasks.values())  # of the exam nothing is asked again
    assert asked(tmp_path / "other" / "logs" / "server-base.log") == []
    assert other.reading == first  # three likely tokens instead of two change no likelihood


def test_an_engine_that_dies_while_it_reads_is_started_again(
    sit: Sit, tmp_path: Path, heard: Heard
) -> None:
    fuse = tmp_path / "fuse"
    fuse.touch()
    result = sit("run")
    assert not fuse.exists()
    assert result.reading is not None
    assert result.reading.documents == 8
    assert [text for text in heard.said if "Starting it again" in text] != []
    logs = tmp_path / "run" / "logs"
    assert asked(logs / "server-base-2.log") == []  # the exam was over
    assert len(asked(logs / "server-base-2.log", "text")) == 8
    rows = (tmp_path / "run" / result.tasks["gsm8k"].samples).read_text().splitlines()
    assert len([json.loads(row) for row in rows]) == 12


@pytest.mark.parametrize(
    ("fuse", "max_restarts", "told", "servers"),
    [
        ("refuse", 2, "status 500", 1),
        ("wide", 2, "ValueError", 1),
        ("always", 2, "not started again for this", 2),
        ("always", 0, "not started again for this", 1),
        ("for good", 2, "every score is kept", 2),
    ],
)
def test_a_reading_that_fails_costs_no_score(
    sit: Sit, tmp_path: Path, heard: Heard, fuse: str, max_restarts: int, told: str, servers: int
) -> None:
    (tmp_path / "fuse").write_text(fuse)
    result = sit("run", max_restarts=max_restarts)
    assert [task.n for task in result.tasks.values()] == [12, 12]
    assert result.reading is None
    assert [text for text in heard.said if told in text] != []
    assert len(list((tmp_path / "run" / "logs").glob("server-base*.log"))) == servers
    (tmp_path / "fuse").unlink()
    again = sit("later")  # nothing was stored: the next run asks again, and only this
    assert again.reading is not None
    assert all(task.reused for task in again.tasks.values())


def test_without_its_scores_a_server_that_does_not_come_up_ends_the_run(
    sit: Sit, tmp_path: Path
) -> None:
    (tmp_path / "fuse").write_text("burnt")
    with pytest.raises(ServerDied):
        sit("run")


def test_an_exam_that_the_template_refuses_takes_no_accelerator(
    sit: Sit, weights: Weights, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(SAMPLE, folder)
    told = folder / "tokenizer_config.json"
    template = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"chat_template": template}))
    asked_as = {"chat_template": True, "system_instruction": "Be brief."}
    model = weights.model_copy(update={"path": folder})
    with pytest.raises(EvaluationError, match="leaves out the system message") as refused:
        sit("run", model=model, asked_as=asked_as)
    assert refused.value.remedy == "Leave evaluation.system_instruction empty."
    assert not (tmp_path / "run" / "logs").exists()
    assert not (tmp_path / "cache" / "leases").exists()


MARKED = """\
def marked(doc, results):
    return {"acc": float(results[0][0] > results[1][0])}
"""
OTHERWISE = MARKED.replace("float(", "float(1 or ")


class Editor(Heard):
    """Somebody who edits a file while an accelerator is awaited, and then gives that back."""

    def __init__(self, file: Path, text: str, held: ExitStack) -> None:
        super().__init__()
        self._file, self._text, self._held = file, text, held

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        super().update(what, done, total, unit)
        if what.startswith("waiting for an accelerator"):
            self._file.write_text(self._text)
            self._held.close()


@pytest.fixture
def marked(tmp_path: Path) -> dict[str, Any]:
    """The spec of an exam that is marked by the user's own code."""
    definition = DEFINITION + "process_results: !function utils.marked\n"
    folder = write(tmp_path / "tasks", definition, utils_py=MARKED)
    task = TaskSpec(name="house_exam")
    return {"tasks": (task,), "include_path": str(folder)}


def test_an_exam_that_is_edited_while_an_accelerator_is_awaited_is_not_kept_as_the_old_one(
    sit: Sit, marked: dict[str, Any], tmp_path: Path
) -> None:
    code = tmp_path / "tasks" / "utils.py"
    settings = Settings(cache=tmp_path / "cache", accelerators="0", leases=tmp_path / "leases")
    with ExitStack() as held:
        held.enter_context(lease(detect("cpu"), what="other", settings=settings, progress=Heard()))
        first = sit("run", asked_as=marked, heard=Editor(code, OTHERWISE, held), settings=settings)
    assert code.read_text() == OTHERWISE
    other = sit("later", asked_as=marked)
    assert not other.tasks["house_exam"].reused
    code.write_text(MARKED)
    again = sit("again", asked_as=marked)
    scores = [one.tasks["house_exam"].metrics["acc,none"].value for one in (first, other, again)]
    assert scores == [0.5, 1.0, 0.5]


def test_arms_that_are_marked_by_different_code_are_not_compared(
    sit: Sit, marked: dict[str, Any], tmp_path: Path
) -> None:
    baseline = sit("run", asked_as=marked)
    (tmp_path / "tasks" / "utils.py").write_text(OTHERWISE)
    candidate = sit("run", asked_as=marked)
    with pytest.raises(ComparisonError, match="differs in definition"):
        paired_rows(*(arm.tasks["house_exam"] for arm in (baseline, candidate)), tmp_path / "run")


def test_a_name_with_a_slash_has_its_rows(sit: Sit, tmp_path: Path) -> None:
    folder = write(tmp_path / "tasks", DEFINITION.replace("house_exam", "house/exam"))
    asked_as = {"tasks": (TaskSpec(name="house/exam"),), "include_path": str(folder)}
    (task,) = sit("run", asked_as=asked_as).tasks.values()
    assert len((tmp_path / "run" / task.samples).read_text().splitlines()) == 6
