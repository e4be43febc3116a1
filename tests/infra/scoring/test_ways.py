"""A row is answered in the way that it wants: free, guided by its schema, or both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.capability import Capability
from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.scoring.ways import texts_of
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.port import AnswerFile
from tests.conftest import ROOT
from tests.infra.suite.harness.completions_server import Completions, serving

MODEL = ROOT / "infra" / "sample" / "model"
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "a": {"type": "integer"}},
    "required": ["n"],
}
GUIDE = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


class Asking:
    def __init__(self, folder: Path, guided: Any) -> None:
        rows = [
            {"question": f"Write {n} as JSON.", "schema": SCHEMA, "answer": {"n": n}}
            for n in range(3)
        ]
        file = folder / "mine.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "mine.yaml").write_text(json.dumps({"schema": {"guided": guided}}))
        self.spec = EvaluationSpec(tasks=(TaskSpec(name="mine", file=str(file)),), concurrency=1)
        self.settings = Settings(cache=folder / "cache")
        self.samples = folder / "samples.jsonl"
        self.answers = AnswerFile(folder / "answers.sqlite", "one server")
        self.kind = kind_of(self.spec)

    def ask(self, server: Completions) -> dict[str, float]:
        suite = self.kind.prepare(self.spec, settings=self.settings, progress=Silent())
        scores = suite.ask("mine", server, MODEL, self.samples, Silent(), self.answers)
        return {name.partition(",")[0]: one.value for name, one in scores.metrics.items()}


class Guided(Completions):
    """Satisfies a schema where it is guided, and not where it is not."""

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        text = '{"n": 7}' if body.get("response_format") else "It is seven, I think."
        choices = [{"index": 0, "text": text, "finish_reason": "stop"}]
        return {"choices": choices}


@pytest.mark.parametrize(
    ("guided", "compliance", "guides"),
    [(False, 0, [None] * 3), (True, 1, [GUIDE] * 3), ("both", 0, [GUIDE] * 3 + [None] * 3)],
)
def test_an_answer_is_guided_where_that_is_wanted(
    tmp_path: Path, guided: Any, compliance: float, guides: list[Any]
) -> None:
    asking = Asking(tmp_path, guided)
    with serving(Guided()) as server:
        found = asking.ask(server)
    assert [body.get("response_format") for body in server.requests] == guides
    assert found["schema_compliance"] == compliance
    for one in filter(None, (body.get("response_format") for body in server.requests)):
        # A guided answer has its properties in the order of the schema.
        assert [*one["json_schema"]["schema"]["properties"]] == ["n", "a"]
    prompts = [body["prompt"] for body in server.requests]
    assert prompts[3:] == (prompts[:3] if guided == "both" else [])
    if guided == "both":
        assert found["guided_compliance"] == 1
        assert found["answer_tokens"] != found["guided_answer_tokens"] > 0
    else:
        assert "guided_compliance" not in found


def test_a_killed_run_asks_neither_way_again(tmp_path: Path) -> None:
    asking = Asking(tmp_path, "both")
    with serving(Guided(die_after=5)) as dying, pytest.raises(EvaluationError):
        asking.ask(dying)
    with serving(Guided()) as server:
        assert asking.ask(server)["guided_compliance"] == 1
    sent = [json.dumps(body) for body in [*dying.requests[:4], *server.requests]]
    assert len(sent) == len({*sent}) == 6


@pytest.mark.parametrize(("guided", "wanted"), [(False, False), (True, True), ("both", True)])
def test_guiding_is_what_a_server_has_to_be_able_to_do(
    tmp_path: Path, guided: Any, wanted: bool
) -> None:
    asking = Asking(tmp_path, guided)
    (task,) = asking.spec.tasks
    line = asking.kind.line(task, asking.spec, settings=asking.settings, progress=Silent())
    assert (frozenset([Capability.JSON_SCHEMA]) in line.needs) is wanted
    assert frozenset([Capability.COMPLETIONS]) in line.needs


@pytest.mark.parametrize("wrong", ["yes", 1, None])
def test_other_ways_there_are_none(tmp_path: Path, wrong: Any) -> None:
    asking = Asking(tmp_path, wrong)
    with pytest.raises(EvaluationError, match=r"sets schema\.guided to") as refusal:
        asking.ask(Completions())
    assert 'false, true, "both"' in refusal.value.remedy


def test_what_frames_an_answer_is_none_of_its_text() -> None:
    steps = [
        {"content": "", "calls": [{"name": "f", "arguments": "{}"}]},
        {"content": "17", "calls": []},
    ]
    assert texts_of({"assay_asks": "tools"}, json.dumps({"steps": steps})) == ["f{}", "17"]
    both = {"free": {"text": "a", "tokens": 1}, "guided": {"text": "b", "tokens": 1}}
    assert texts_of({"assay_asks": "free and guided"}, json.dumps(both)) == ["a"]
    assert texts_of({"assay_asks": ""}, '{"steps": []}') == ['{"steps": []}']
