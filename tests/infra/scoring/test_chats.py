"""Chats with functions: both steps are asked, kept and found again; results go to their calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.judging.chance import guessing
from infra.scoring.chats import chat_of, converse, holds_chat, is_chat, unrendered
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.own.tools import KIND
from infra.suite.port import AnswerFile
from infra.suite.rows import read_rows
from tests.conftest import ROOT
from tests.infra.suite.harness.completions_server import Completions, serving

MODEL = ROOT / "infra" / "sample" / "model"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "description": "The weather in a city.", "parameters": CITY}


def row(number: int) -> dict[str, Any]:
    return {
        "question": f"How warm is it in city {number}?",
        "tools": [WEATHER],
        "must_call": [{"name": "weather", "arguments": {"city": f"city {number}"}}],
        "results": [{"degrees": 10 + number}],
        "final": 10 + number,
    }


def called(city: str) -> dict[str, Any]:
    function = {"name": "weather", "arguments": json.dumps({"city": city})}
    return {"content": None, "tool_calls": [{"id": "x", "type": "function", "function": function}]}


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """Answer as a model that can do it: the call, and then what was handed back."""
    *_, last = body["messages"]
    if last["role"] == "tool":
        return {"content": f"It has {json.loads(last['content'])['degrees']} degrees."}
    return called(last["content"].removeprefix("How warm is it in ").removesuffix("?"))


class Asking:
    """A file's task, asked of a server."""

    def __init__(
        self, folder: Path, rows: Any, task: dict[str, Any] | None = None, **fields: Any
    ) -> None:
        file = folder / "mine.jsonl"
        file.write_text("".join(json.dumps(one) + "\n" for one in rows))
        self.samples = folder / "samples.jsonl"
        self.answers = AnswerFile(folder / "answers.sqlite", "one server")
        spec = EvaluationSpec(
            tasks=(TaskSpec.model_validate({"name": "mine", "file": str(file), **(task or {})}),),
            concurrency=1,
            **fields,
        )
        self.suite = kind_of(spec).prepare(
            spec, settings=Settings(cache=folder / "cache"), progress=Silent()
        )

    def ask(self, server: Completions) -> dict[str, float]:
        scores = self.suite.ask("mine", server, MODEL, self.samples, Silent(), self.answers)
        return {name.partition(",")[0]: one.value for name, one in scores.metrics.items()}


def test_the_call_its_result_and_the_final_answer_are_one_row(tmp_path: Path) -> None:
    asking = Asking(tmp_path, [row(number) for number in range(3)])
    with serving(Completions(talk=answer)) as server:
        found = asking.ask(server)
    assert found["all_right"] == found["right_final"] == found["well_formed"] == 1
    first, second = server.requests[:3], server.requests[3:]
    for one, other in zip(first, second, strict=True):
        assert [tool["function"]["name"] for tool in one["tools"]] == ["weather"]
        assert one["temperature"] == other["temperature"] == 0
        assert (one["seed"], one["max_tokens"]) == (1234, 256)
        question, call, result = other["messages"]
        assert [question] == one["messages"]
        assert call["tool_calls"][0]["id"] == result["tool_call_id"]
        assert json.loads(call["tool_calls"][0]["function"]["arguments"])["city"].startswith("city")
        assert (result["role"], result["name"]) == ("tool", "weather")
    (kept,) = (json.loads(line) for line in asking.samples.read_text().splitlines()[:1])
    assert kept["finish_reason"] == "stop" and not kept["truncated"]


def test_who_knows_nothing_scores_what_chance_says(tmp_path: Path) -> None:
    asking = Asking(tmp_path, KIND.example)
    with serving(Completions()) as server:  # calls nothing, whatever it is asked
        found = asking.ask(server)
    rows = [*read_rows(asking.samples, "mine")]
    assert found["all_right"] == guessing("all_right,none", rows).chance == 1 / 3


@pytest.mark.parametrize("dies", [2, 5])
def test_a_killed_run_sends_neither_step_again(tmp_path: Path, dies: int) -> None:
    asking = Asking(tmp_path, [row(number) for number in range(4)])
    with serving(Completions(talk=answer, die_after=dies)) as dying, pytest.raises(EvaluationError):
        asking.ask(dying)
    before = [json.dumps(body["messages"]) for body in dying.requests[: dies - 1]]
    with serving(Completions(talk=answer)) as server:
        assert asking.ask(server)["all_right"] == 1
    after = [json.dumps(body["messages"]) for body in server.requests]
    assert len(before) + len(after) == len({*before, *after}) == 8


def test_repeats_draw_both_steps_with_seeds_of_their_own(tmp_path: Path) -> None:
    sampling = {"sampling": {"repeats": 2, "temperature": 0.7}}
    asking = Asking(tmp_path, [row(0)], sampling)
    with serving(Completions(talk=answer)) as server:
        assert asking.ask(server)["all_right"] == 1
    assert {body["temperature"] for body in server.requests} == {0.7}
    steps: dict[int, list[int]] = {}
    for body in server.requests:
        steps.setdefault(body["seed"], []).append(len(body["messages"]))
    assert [sorted(lengths) for lengths in steps.values()] == [[1, 3], [1, 3]]


def test_nothing_is_handed_back_for_a_call_that_returns_nothing(tmp_path: Path) -> None:
    asking = Asking(tmp_path, [row(0)])
    broken = {"name": "weather", "arguments": '{"city": "ci'}
    tool_calls = [{"id": "x", "type": "function", "function": broken}]
    with serving(Completions(talk=lambda body: {"tool_calls": tool_calls})) as server:
        found = asking.ask(server)
    assert len(server.requests) == 1
    assert (found["all_right"], found["well_formed"], found["right_functions"]) == (0, 0, 1)


@pytest.mark.parametrize("chat", [True, False])
def test_an_instruction_of_the_system_comes_first(tmp_path: Path, chat: bool) -> None:
    asking = Asking(
        tmp_path, [row(0)], chat_template=chat, system_instruction="Be brief.",
        chat_template_kwargs={"enable_thinking": False},
    )  # fmt: skip
    with serving(Completions(talk=answer)) as server:
        assert asking.ask(server)["all_right"] == 1
    assert server.requests[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert len(server.requests[0]["messages"]) == 2
    assert server.requests[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_each_call_gets_the_result_of_the_call_it_is_likest() -> None:
    chat = json.dumps({"messages": [{"role": "user", "content": "q"}], "tools": []})
    made = [{"name": "weather", "arguments": json.dumps({"city": c})} for c in ("Paris", "Rome")]
    results = [
        {"name": "weather", "arguments": {"city": city}, "content": city.upper()}
        for city in ("Rome", "Paris")
    ]
    asked: list[Any] = []

    def ask(numbered: Any) -> list[Any]:
        asked.extend(numbered)
        said = {"content": "", "calls": made if len(asked) == 1 else []}
        return [(json.dumps(said), "stop") for _ in numbered]

    converse([chat], ["{}"], [json.dumps(results)], ask)
    handed = json.loads(asked[1][1].prompt)["messages"][-2:]
    assert [one["content"] for one in handed] == ["PARIS", "ROME"]


def test_a_chat_is_found_in_what_lm_eval_makes_of_it() -> None:
    chat = '{"messages": [{"role": "user", "content": "q"}], "tools": []}'
    assert json.loads(chat_of(chat)) == json.loads(chat)
    system = {"role": "system", "content": "Be brief."}
    assert json.loads(chat_of(f"Be brief.\n\n{chat}"))["messages"][0] == system
    history = [system, {"role": "user", "content": chat}]
    assert json.loads(unrendered(history))["messages"][0] == system


@pytest.mark.parametrize(
    "asked",
    [
        '{"messages": [{"role": "user", "content": "hi"}]} Which role is it?',
        '{"messages": [{"role": "user"',
        '{"messages": [1]}',
        'What is wrong?\n{"messages": [], "tools": [',
    ],
)
def test_a_question_about_a_chat_is_none(asked: str) -> None:
    """It would be put without the model's template, or end the run."""
    assert not is_chat(asked) and not holds_chat(asked)
    chat = json.dumps({"messages": [], "tools": [WEATHER]})
    assert is_chat(chat) and holds_chat(f"Be brief.\n\n{chat}")
