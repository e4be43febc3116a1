"""Whole arms on an engine that answers at once."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.capability import Capability
from infra.contracts.errors import ComparisonError, CorruptWeights, EvaluationError, ServerDied
from infra.contracts.records import Checkpoint
from infra.contracts.specs import TaskSpec
from infra.engines.vllm.engine import Vllm
from infra.judging import noise
from infra.judging.pairing import RunRows, paired_rows
from infra.machine import preloaded
from infra.machine.device import detect
from infra.machine.leases import lease
from infra.machine.preloaded import Preloading
from infra.models.weights import as_it_came, inspect_local
from infra.scoring.answers import count_kept
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE
from tests.infra.stages.conftest import (
    CONVERSATIONS,
    Evaluate,
    Overwriter,
    make_spec,
    prompts_in,
    write_template,
)
from tests.infra.suite.harness.conftest import Heard
from tests.infra.suite.harness.own_tasks import DEFINITION, write

NOISE = {"noise_floor": True}


def test_a_repeat_answers_everything_again_in_another_order(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    run, logs = tmp_path / "run", tmp_path / "run" / "logs"
    first = evaluate("run", conditions=NOISE)
    second = evaluate("run", conditions=NOISE, repeat=True)
    one, other = (
        prompts_in(logs / "server-baseline.log"),
        prompts_in(logs / "server-baseline-repeat.log"),
    )
    assert len(one) >= 24
    assert sorted(one) == sorted(other)
    assert one != other != one[::-1]
    # Whatever the order: the same documents have the same answers.
    for name in first.tasks:
        rows = [
            (run / "samples" / arm / f"{name}.jsonl").read_text()
            for arm in ("baseline", "baseline-repeat")
        ]
        assert rows[0] == rows[1]
        assert not second.tasks[name].reused
        assert second.tasks[name].samples == f"samples/baseline-repeat/{name}.jsonl"
    assert {task.changed for task in noise.floor(first, second, RunRows(run)).tasks.values()} == {0}
    # It is neither read with nor looked at.
    assert first.reading is not None
    assert (second.reading, second.triage, second.bench) == (None, None, None)
    assert len(prompts_in(logs / "server-baseline.log", "text")) == 8
    assert prompts_in(logs / "server-baseline-repeat.log", "text") == []


def test_an_arm_and_its_repeat_are_kept_and_kept_apart(evaluate: Evaluate, tmp_path: Path) -> None:
    evaluate("run")
    evaluate("run", repeat=True)
    for options in ({}, {"repeat": True}, {"conditions": NOISE}):
        again = evaluate("later", **options)
        assert all(task.reused for task in again.tasks.values())
    logs = {log.name for log in (tmp_path / "later" / "logs").iterdir()}
    assert logs == {"server-baseline-reused.log", "server-baseline-repeat-reused.log"}


def test_what_an_engine_that_adjusts_itself_gave_is_of_its_run_alone(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    spec = make_spec()
    serving = spec.baseline.serving.model_copy(update={"adjust": True})
    spec = spec.model_copy(
        update={"baseline": spec.baseline.model_copy(update={"serving": serving})}
    )
    first, second = evaluate("run", spec=spec), evaluate("later", spec=spec)
    assert not any(task.reused for one in (first, second) for task in one.tasks.values())
    log = tmp_path / "later" / "logs" / "server-baseline.log"
    assert len(prompts_in(log, "text")) == 8
    # Single answers go by the command that the server has in the end; one tells how it scores.
    assert len(prompts_in(log)) == 1
    assert {name: one.metrics for name, one in first.tasks.items()} == {
        name: one.metrics for name, one in second.tasks.items()
    }


def test_what_an_engine_cannot_answer_is_left_out_and_said(
    evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    can = frozenset(Capability) - {Capability.PROMPT_LOGPROBS}
    monkeypatch.setattr(Vllm, "can", lambda self, serving: can)
    found = evaluate("run")
    assert found.reading is None
    assert found.not_measured == ("the fidelity texts were not read. vLLM has no prompt logprobs.",)
    assert prompts_in(tmp_path / "run" / "logs" / "server-baseline.log", "text") == []
    again = evaluate("later")
    assert again.not_measured == found.not_measured
    # No engine is started for what it cannot do.
    logs = [log.name for log in (tmp_path / "later" / "logs").iterdir()]
    assert logs == ["server-baseline-reused.log"]


def test_a_reading_is_kept_and_made_again_for_other_figures(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    first = evaluate("run").reading
    assert first is not None
    assert (first.documents, first.file) == (8, "readings/baseline.npz")
    assert evaluate("later").reading == first
    assert (tmp_path / "later" / first.file).is_file()
    assert not (tmp_path / "later" / "logs" / "server-baseline.log").exists()
    other = evaluate("other", top_k=3)
    assert all(task.reused for task in other.tasks.values())  # no question is asked again
    assert prompts_in(tmp_path / "other" / "logs" / "server-baseline.log") == []
    assert other.reading == first  # three likely tokens instead of two change no likelihood


def test_an_engine_that_dies_while_it_reads_is_started_again(
    evaluate: Evaluate, tmp_path: Path, heard: Heard
) -> None:
    fuse = tmp_path / "fuse"
    fuse.touch()
    result = evaluate("run")
    assert not fuse.exists()
    assert result.reading is not None
    assert result.reading.documents == 8
    assert [text for text in heard.said if "Starting it again" in text] != []
    logs = tmp_path / "run" / "logs"
    assert prompts_in(logs / "server-baseline-2.log") == []  # all questions were answered
    assert len(prompts_in(logs / "server-baseline-2.log", "text")) == 8
    rows = (tmp_path / "run" / result.tasks["gsm8k"].samples).read_text().splitlines()
    assert len([json.loads(row) for row in rows]) == 12


@pytest.mark.parametrize(
    ("fuse", "max_restarts", "said", "servers"),
    [
        ("refuse", 2, "status 500", 1),
        ("wide", 2, "ValueError", 1),
        ("always", 2, "not started again for this", 2),
        ("always", 0, "not started again for this", 1),
        ("for good", 2, "every score is kept", 2),
    ],
)
def test_a_reading_that_fails_costs_no_score(
    evaluate: Evaluate,
    tmp_path: Path,
    heard: Heard,
    fuse: str,
    max_restarts: int,
    said: str,
    servers: int,
) -> None:
    (tmp_path / "fuse").write_text(fuse)
    result = evaluate("run", max_restarts=max_restarts)
    assert [task.n for task in result.tasks.values()] == [12, 12]
    assert result.reading is None
    assert [text for text in heard.said if said in text] != []
    assert len(list((tmp_path / "run" / "logs").glob("server-baseline*.log"))) == servers
    (tmp_path / "fuse").unlink()
    again = evaluate("later")  # nothing was stored: the next run asks again, and only this
    assert again.reading is not None
    assert all(task.reused for task in again.tasks.values())


def test_without_its_scores_a_server_that_does_not_come_up_ends_the_run(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    (tmp_path / "fuse").write_text("burnt")
    with pytest.raises(ServerDied):
        evaluate("run")


def test_tasks_that_the_template_refuses_take_no_accelerator(
    evaluate: Evaluate, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(SAMPLE, folder)
    write_template(
        folder, "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
    )
    conditions = {"chat_template": True, "system_instruction": "Be brief."}
    model = checkpoint.model_copy(update={"path": folder})
    with pytest.raises(EvaluationError, match="leaves out the system message") as refused:
        evaluate("run", model=model, conditions=conditions)
    assert refused.value.remedy == "Leave evaluation.system_instruction empty."
    assert not (tmp_path / "run" / "logs").exists()
    assert not (tmp_path / "cache" / "leases").exists()


SCORED = """\
def scored(doc, results):
    return {"acc": float(results[0][0] > results[1][0])}
"""
OTHERWISE = SCORED.replace("float(", "float(1 or ")


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
def scored(tmp_path: Path) -> dict[str, Any]:
    """A task that is scored by the user's own code."""
    definition = DEFINITION + "process_results: !function utils.scored\n"
    folder = write(tmp_path / "tasks", definition, utils_py=SCORED)
    task = TaskSpec(name="house_task")
    return {"tasks": (task,), "include_path": str(folder)}


def test_a_task_that_is_edited_while_an_accelerator_is_awaited_is_not_kept_as_the_old_one(
    evaluate: Evaluate, scored: dict[str, Any], tmp_path: Path
) -> None:
    code = tmp_path / "tasks" / "utils.py"
    settings = Settings(cache=tmp_path / "cache", accelerators="0", leases=tmp_path / "leases")
    with ExitStack() as held:
        held.enter_context(lease(detect("cpu"), what="other", settings=settings, progress=Heard()))
        first = evaluate(
            "run", conditions=scored, heard=Editor(code, OTHERWISE, held), settings=settings
        )
    assert code.read_text() == OTHERWISE
    assert first.speed.waited_seconds > 0
    other = evaluate("later", conditions=scored)
    assert not other.tasks["house_task"].reused
    assert other.speed.waited_seconds < first.speed.waited_seconds
    code.write_text(SCORED)
    again = evaluate("again", conditions=scored)
    scores = [one.tasks["house_task"].metrics["acc,none"].value for one in (first, other, again)]
    assert scores == [0.5, 1.0, 0.5]


def test_the_texts_to_be_read_are_chosen_before_an_accelerator_is_awaited(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    texts = tmp_path / "cache" / "readings" / "texts"
    settings = Settings(cache=tmp_path / "cache", accelerators="0", leases=tmp_path / "leases")
    there = []

    class Waiting(Heard):
        def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
            if not there and what.startswith("waiting for an accelerator"):
                there.extend(texts.glob("*.json"))
                held.close()

    with ExitStack() as held:
        held.enter_context(lease(detect("cpu"), what="other", settings=settings, progress=Heard()))
        evaluate("run", heard=Waiting(), settings=settings)
    assert len(there) == 1


def test_what_was_loaded_ends_where_an_accelerator_is_awaited_for_long(
    evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        cache=tmp_path / "cache", accelerators="0", leases=tmp_path / "leases", slot_wait_seconds=60
    )
    monkeypatch.setattr(preloaded, "_WAITING_SECONDS", 0)
    with ExitStack() as held, Preloading():
        held.enter_context(lease(detect("cpu"), what="other", settings=settings, progress=Heard()))
        monkeypatch.setattr(Preloading, "drop", lambda _: held.close())
        assert evaluate("run", settings=settings).tasks


def test_arms_that_are_scored_by_different_code_are_not_compared(
    evaluate: Evaluate, scored: dict[str, Any], tmp_path: Path
) -> None:
    baseline = evaluate("run", conditions=scored)
    (tmp_path / "tasks" / "utils.py").write_text(OTHERWISE)
    candidate = evaluate("run", conditions=scored)
    with pytest.raises(ComparisonError, match="differs in definition"):
        paired_rows(*(arm.tasks["house_task"] for arm in (baseline, candidate)), tmp_path / "run")


def test_a_name_with_a_slash_has_its_rows(evaluate: Evaluate, tmp_path: Path) -> None:
    folder = write(tmp_path / "tasks", DEFINITION.replace("house_task", "house/task"))
    conditions = {"tasks": (TaskSpec(name="house/task"),), "include_path": str(folder)}
    (task,) = evaluate("run", conditions=conditions).tasks.values()
    assert len((tmp_path / "run" / task.samples).read_text().splitlines()) == 6


@pytest.fixture
def written_anew(tmp_path: Path) -> tuple[Checkpoint, Path]:
    """A checkpoint in a folder, and other weights for it."""
    folder = tmp_path / "model"
    shutil.copytree(SAMPLE, folder)
    model = as_it_came(inspect_local(folder, settings=Settings(cache=tmp_path / "cache")))
    others = tmp_path / "others.safetensors"
    others.write_bytes((folder / "model.safetensors").read_bytes()[:-4] + b"\0\1\0\1")
    return model, others


def test_weights_that_are_overwritten_while_the_engine_loads_them_are_kept_under_no_digest(
    evaluate: Evaluate, written_anew: tuple[Checkpoint, Path], tmp_path: Path
) -> None:
    model, others = written_anew
    before = (model.path / "model.safetensors").read_bytes()
    engine = (tmp_path / "python").read_text()
    (tmp_path / "python").write_text(
        engine.replace("exec", f"cp {others} {model.path}/model.safetensors\nexec", 1)
    )
    with pytest.raises(CorruptWeights, match="changed since its digest was computed") as caught:
        evaluate("run", model=model)
    assert "model.safetensors" in caught.value.fact
    assert prompts_in(tmp_path / "run" / "logs" / "server-baseline.log") == []
    (tmp_path / "python").write_text(engine)
    with pytest.raises(CorruptWeights):  # before an engine is started for it
        evaluate("next", model=model)
    assert not (tmp_path / "next" / "logs" / "server-baseline.log").exists()
    (model.path / "model.safetensors").write_bytes(before)
    again = evaluate("again", model=model)
    assert not any(task.reused for task in again.tasks.values())


def test_a_task_whose_model_is_overwritten_while_it_is_asked_is_not_kept(
    evaluate: Evaluate, written_anew: tuple[Checkpoint, Path], tmp_path: Path
) -> None:
    model, others = written_anew
    heard = Overwriter(others, model.path / "model.safetensors")
    with pytest.raises(CorruptWeights, match="changed since"):
        evaluate("run", model=model, heard=heard)
    assert heard.written
    kept = tmp_path / "cache" / "scores"
    assert not list(kept.glob("[!.]*"))


def test_no_answer_is_kept_that_was_given_after_a_mapped_file_was_overwritten(
    evaluate: Evaluate, written_anew: tuple[Checkpoint, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Vllm, "reads_on", True)
    model, others = written_anew
    before = (model.path / "model.safetensors").read_bytes()
    (tmp_path / "fuse").write_text(f"overwrite 9 {others} {model.path}/model.safetensors")
    with pytest.raises(CorruptWeights, match="changed since"):
        evaluate("run", model=model)
    log = tmp_path / "run" / "logs" / "server-baseline.log"
    [kept] = (tmp_path / "cache" / "answers").glob("*.sqlite")
    # It is noticed at once, and costs no more than what was in flight.
    assert 0 < count_kept(kept) < 9 <= len(prompts_in(log)) < 12
    (model.path / "model.safetensors").write_bytes(before)
    evaluate("again", model=model)
    again = prompts_in(tmp_path / "again" / "logs" / "server-baseline.log")
    assert set(again) & set(prompts_in(log)[8:]), "what was asked in vain is asked again"


@pytest.mark.parametrize(
    ("what", "kind"),
    [("fidelity: reading", "readings"), ("triage: answering prompts", "triage")],
)
def test_nothing_is_kept_that_was_read_of_a_model_which_was_overwritten_meanwhile(
    evaluate: Evaluate, written_anew: tuple[Checkpoint, Path], tmp_path: Path, what: str, kind: str
) -> None:
    model, others = written_anew
    heard = Overwriter(others, model.path / "model.safetensors", what)
    spec = make_spec(conditions={"triage": {"prompts": 8}}, conversations=CONVERSATIONS)
    with pytest.raises(CorruptWeights, match="changed since"):
        evaluate("run", model=model, heard=heard, spec=spec)
    assert heard.written
    kept = tmp_path / "cache" / kind
    assert [path for path in kept.glob("*/*") if path.parent.name != "texts"] == []
