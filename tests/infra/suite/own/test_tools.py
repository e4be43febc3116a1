"""Rows with functions: read, offered among others, and refused where they could not be marked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import DatasetError, EvaluationError
from infra.suite.own.definition import load

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NAMES = ("weather", "time", "news", "hotels", "flights")


def function(name: str) -> dict[str, Any]:
    return {"name": name, "description": f"The {name} of a city.", "parameters": CITY}


def row(number: int, **other: Any) -> dict[str, Any]:
    name = NAMES[number % len(NAMES)]
    return {
        "question": f"Row {number}?",
        "tools": [function(name)],
        "must_call": [{"name": name, "arguments": {"city": "Rome"}}],
        **other,
    }


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    def read(*rows: Any, **options: Any) -> list[dict[str, Any]]:
        file = tmp_path / "mine.jsonl"
        file.write_text("".join(json.dumps(one) + "\n" for one in rows))
        if options:
            (tmp_path / "mine.yaml").write_text(json.dumps({"tools": options}))
        return [dict(one) for one in load(file).rows]

    return read


def offered(one: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in json.loads(one["prompt"])["tools"]]


def test_a_row_is_put_as_a_chat_with_its_functions(read: Any) -> None:
    (one,) = read(row(0, results=[{"degrees": 17}], final=17))
    assert json.loads(one["prompt"]) == {
        "messages": [{"role": "user", "content": "Row 0?"}],
        "tools": [{"type": "function", "function": function("weather")}],
    }
    assert json.loads(one["results"])[0]["content"] == '{"degrees": 17}'
    assert json.loads(one["answer"])["steps"][1] == {"content": "17", "calls": []}


def test_messages_may_stand_instead_of_a_question(read: Any) -> None:
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rome?"}]
    given = row(0, messages=talk)
    del given["question"]
    (one,) = read(given)
    assert json.loads(one["prompt"])["messages"] == talk


def test_more_functions_hold_the_fewer_and_the_same_are_drawn_again(read: Any) -> None:
    rows = [row(number) for number in range(5)]
    found = read(*rows, offered=[4, 1, 2])
    assert [one["offered"] for one in found] == ["1", "2", "4"] * 5
    for few, some, many in zip(*[iter(found)] * 3, strict=True):
        assert offered(few) == [json.loads(few["due"])[0]["name"]]
        assert {*offered(few)} < {*offered(some)} < {*offered(many)}
        assert few["question"] == many["question"]
    assert found == read(*rows, offered=[1, 2, 4])
    other = read(*rows, offered=[1, 2, 4], seed=7)
    assert [*map(offered, other)] != [*map(offered, found)]
    places = {offered(one).index(json.loads(one["due"])[0]["name"]) for one in found}
    assert len(places) > 1  # the right one does not always come first


def test_types_of_other_data_sets_are_those_of_json_schema(read: Any) -> None:
    schema = {"type": "dict", "properties": {"x": {"type": "float"}, "y": {"type": "any"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    (one,) = read({"question": "q", "tools": [tool], "must_call": [{"f": {"x": [1.5]}}]})
    (shown,) = json.loads(one["prompt"])["tools"]
    assert shown["function"]["parameters"] == {
        "type": "object",
        "properties": {"x": {"type": "number"}, "y": {}},
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tools": []}, "tools that are no list"),
        ({"tools": [{"description": "x"}]}, "a function without a name"),
        ({"tools": [function("weather"), function("weather")]}, "offers weather twice"),
        ({"tools": [function("f") | {"parameters": {"type": "strin"}}]}, "that are no schema"),
        ({"must_call": [{"name": "fly", "arguments": {}}]}, "which is none of its tools (weather)"),
        ({"must_call": [{"name": "weather", "arguments": {"town": "x"}}]}, "none of its param"),
        ({"must_call": [{"name": "weather", "arguments": {}}]}, "its own functions do not allow"),
        ({"must_call": [{"weather": {"city": [5]}}]}, None),  # as the rules have it: a variable
        ({"must_call": [{"weather": {"city": "Rome"}}]}, "with city that lists no values"),
        ({"must_call": ["weather", 3]}, "which is none"),
        ({"results": [1, 2], "final": 1}, "2 results of 1 calls"),
        ({"results": [1]}, "results without a final answer"),
        ({"final": 1}, "a final answer without results"),
        ({"results": [1], "final": " "}, "an empty final"),
        ({"messages": [{"role": "assistant", "content": "x"}], "question": ""}, "no answer can"),
    ],
)
def test_a_row_that_cannot_be_marked_is_named(read: Any, change: Any, says: str | None) -> None:
    if says is None:
        read(row(0), row(0) | {"question": "b"} | change)
        return
    with pytest.raises(DatasetError) as refusal:
        read(row(0), row(0) | {"question": "b"} | change)
    assert refusal.value.fact.startswith("Line 2 of mine.jsonl ")
    assert says in refusal.value.fact
    assert refusal.value.remedy


@pytest.mark.parametrize("count", [0, -1, 6, True, "4"])
def test_a_number_of_functions_that_cannot_be_offered_is_refused(read: Any, count: Any) -> None:
    with pytest.raises((DatasetError, EvaluationError), match=r"cannot be offered|sets tools"):
        read(*(row(number) for number in range(5)), offered=[count])


def test_two_due_functions_cannot_be_offered_as_one(read: Any) -> None:
    both = row(0, tools=[function("weather"), function("time")])
    both["must_call"] = [{"weather": {"city": ["Rome"]}}, {"time": {"city": ["Rome"]}}]
    with pytest.raises(DatasetError, match="cannot be offered 1 functions: 2 are due"):
        read(both, offered=[1])


@pytest.mark.parametrize("schema", [True, {"type": "array", "items": True}, {"type": "array"}])
def test_a_schema_may_be_a_truth_value(read: Any, schema: Any) -> None:
    offered = {"name": "pick", "parameters": {"type": "object", "properties": {"these": schema}}}
    due = {"name": "pick", "arguments": {"these": [1, "two"]}}
    (one,) = read({"question": "Pick.", "tools": [offered], "must_call": [due]})
    assert json.loads(one["due"]) == [{"name": "pick", "arguments": {"these": [[1, "two"]]}}]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, "5"),
        ({"type": "string", "enum": ["C", "F"]}, "K"),
        ({"$ref": "#/$defs/few"}, 9),
        ({"type": "string"}, 5),
    ],
)
def test_a_value_that_the_parameters_do_not_allow_is_refused(
    read: Any, schema: Any, value: Any
) -> None:
    """No right call would be marked right: it was the row that was wrong."""
    parameters = {
        "type": "object", "properties": {"n": schema}, "$defs": {"few": {"maximum": 3}},
    }  # fmt: skip
    offered = {"name": "pick", "parameters": parameters}
    due = {"name": "pick", "arguments": {"n": value}}
    with pytest.raises(DatasetError, match=r"expects pick with n as .* do not allow"):
        read({"question": "Pick.", "tools": [offered], "must_call": [due]})


@pytest.mark.parametrize("content", [None, "", 5])
def test_messages_that_say_nothing_are_refused(read: Any, content: Any) -> None:
    talk = [{"role": "user", "content": content}]
    with pytest.raises(DatasetError, match="messages that no answer can follow"):
        read({"messages": talk, "tools": [function("weather")], "must_call": []})


def test_a_whole_number_of_a_table_is_expected_as_people_write_it(read: Any) -> None:
    (one,) = read(row(0, results=["17 degrees"], final=17.0))
    assert json.loads(one["final"]) == ["17"]


@pytest.mark.parametrize("key", ["num_fewshot", "doc_to_text", "gen_prefix"])
def test_how_a_chat_is_put_the_kind_decides(tmp_path: Path, key: str) -> None:
    (tmp_path / "mine.jsonl").write_text(json.dumps(row(0)) + "\n")
    (tmp_path / "mine.yaml").write_text(f"{key}: 1\n")
    with pytest.raises(EvaluationError, match=f"sets {key}"):
        load(tmp_path / "mine.jsonl")
