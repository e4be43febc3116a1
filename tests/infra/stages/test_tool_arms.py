"""What reads calls out of answers is in the key of tasks with functions, and of no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import pytest

from infra.contracts.errors import ComparisonError, EvaluationError, Unservable
from infra.contracts.records import ArmResult, Checkpoint
from infra.contracts.specs import RunSpec, ServingSpec, TaskSpec
from infra.judging.pairing import paired_rows
from infra.models import template_clock
from infra.models.chat_template import text_for_tools
from infra.models.weights import as_it_came, inspect_local
from infra.store.settings import Settings
from infra.suite.own.tools import KIND
from tests.conftest import ROOT
from tests.infra.stages.conftest import TASKS, Evaluate, make_spec, write_template
from tests.infra.suite.harness.conftest import Heard


@pytest.fixture
def assistant(tmp_path: Path) -> Checkpoint:
    folder = shutil.copytree(ROOT / "infra" / "sample" / "assistant", tmp_path / "assistant")
    return as_it_came(inspect_local(folder, settings=Settings(cache=tmp_path / "weights")))


def spec_with(tmp_path: Path, **serving: object) -> RunSpec:
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in KIND.example))
    tasks = (TASKS[0], TaskSpec(name="mine", file=str(file)))
    spec = make_spec(conditions={"tasks": tasks})
    changed = ServingSpec.model_validate({**spec.baseline.serving.model_dump(), **serving})
    baseline = spec.baseline.model_copy(update={"serving": changed})
    return spec.model_copy(update={"baseline": baseline})


def test_another_parser_asks_tasks_with_functions_again_and_no_others(
    evaluate: Evaluate, assistant: Checkpoint, tmp_path: Path
) -> None:
    alone = evaluate("alone", model=assistant, conditions={"tasks": TASKS[:1]})
    assert alone.server.tool_parser is None
    assert "--tool-call-parser" not in alone.server.command
    first = evaluate("first", model=assistant, spec=spec_with(tmp_path))
    assert {name: task.reused for name, task in first.tasks.items()} == {
        "gsm8k": True, "mine": False
    }  # fmt: skip
    assert first.server.tool_parser == "hermes"
    assert first.server.command[-3:] == (
        "--enable-auto-tool-choice",
        "--tool-call-parser",
        "hermes",
    )
    again = evaluate("again", model=assistant, spec=spec_with(tmp_path))
    assert all(task.reused for task in again.tasks.values())
    other = evaluate("other", model=assistant, spec=spec_with(tmp_path, tool_parser="qwen3_coder"))
    assert {name: task.reused for name, task in other.tasks.items()} == {
        "gsm8k": True, "mine": False
    }  # fmt: skip
    assert other.server.tool_parser == "qwen3_coder"


DATED = "{%- if not date_string is defined %}{{ strftime_now('%d %b %Y') }}{% endif -%}"


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets it be another day of a month."""

    def be(number: int) -> None:
        class Then(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Then:
                return cls(2031, 5, number, 12, tzinfo=UTC)

        monkeypatch.setattr(template_clock, "datetime", Then)

    be(1)
    return be


@pytest.fixture
def dated(assistant: Checkpoint, tmp_path: Path) -> Checkpoint:
    """A model whose template writes the date."""
    file = assistant.path / "chat_template.jinja"
    file = file if file.exists() else assistant.path / "tokenizer_config.json"
    write_template(assistant.path, DATED + text_for_tools(assistant.path))
    if file.suffix == ".jinja":
        file.write_text(DATED + file.read_text())
    return as_it_came(inspect_local(assistant.path, settings=Settings(cache=tmp_path / "weights")))


def reused(result: ArmResult) -> dict[str, bool]:
    return {name: task.reused for name, task in result.tasks.items()}


def answers_in(tmp_path: Path) -> set[str]:
    return {file.name for file in (tmp_path / "cache" / "answers").glob("*.sqlite")}


def test_chats_that_the_server_dates_are_of_one_day(
    evaluate: Evaluate, dated: Checkpoint, tmp_path: Path, day: Callable[[int], None]
) -> None:
    spec = spec_with(tmp_path)
    first = evaluate("first", model=dated, spec=spec)
    assert reused(evaluate("again", model=dated, spec=spec)) == {"gsm8k": True, "mine": True}
    before = answers_in(tmp_path)
    day(2)
    later = evaluate("later", model=dated, spec=spec)
    assert reused(later) == {"gsm8k": True, "mine": False}
    assert len(answers_in(tmp_path) - before) == 1, "no single answer of another day is taken"
    with pytest.raises(ComparisonError, match="date_in_chats"):
        paired_rows(
            first.tasks["mine"].model_copy(
                update={"samples": f"first/{first.tasks['mine'].samples}"}
            ),
            later.tasks["mine"].model_copy(
                update={"samples": f"later/{later.tasks['mine'].samples}"}
            ),
            tmp_path,
        )


def test_a_date_that_the_spec_fixes_is_of_every_day(
    evaluate: Evaluate, dated: Checkpoint, tmp_path: Path, day: Callable[[int], None]
) -> None:
    spec = spec_with(tmp_path)
    fixed = {"chat_template_kwargs": {"date_string": "1 May 2031"}}
    spec = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update=fixed)})
    evaluate("first", model=dated, spec=spec)
    day(2)
    assert reused(evaluate("later", model=dated, spec=spec)) == {"gsm8k": True, "mine": True}


def test_a_template_without_a_date_is_of_every_day(
    evaluate: Evaluate, assistant: Checkpoint, tmp_path: Path, day: Callable[[int], None]
) -> None:
    evaluate("first", model=assistant, spec=spec_with(tmp_path))
    day(2)
    later = evaluate("later", model=assistant, spec=spec_with(tmp_path))
    assert reused(later) == {"gsm8k": True, "mine": True}


class Midnight(Heard):
    """A day that ends while chats are asked."""

    def __init__(self, day: Callable[[int], None]) -> None:
        super().__init__()
        self._day = day

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        super().update(what, done, total, unit)
        if (what, unit) == ("mine", "documents"):
            self._day(2)


def test_chats_of_two_days_are_not_kept_as_those_of_one(
    evaluate: Evaluate, dated: Checkpoint, tmp_path: Path, day: Callable[[int], None]
) -> None:
    with pytest.raises(EvaluationError, match="The day changed before mine was answered") as caught:
        evaluate("run", model=dated, spec=spec_with(tmp_path), heard=Midnight(day))
    assert "chat_template_kwargs" in caught.value.remedy
    day(1)
    again = evaluate("again", model=dated, spec=spec_with(tmp_path))
    assert reused(again) == {"gsm8k": True, "mine": False}


def test_a_template_without_functions_takes_no_accelerator(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    with pytest.raises(Unservable, match="writes no functions"):
        evaluate("run", spec=spec_with(tmp_path))
    assert not (tmp_path / "run" / "logs").exists()
