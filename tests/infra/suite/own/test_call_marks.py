"""Calls are marked by the leaderboard's published rules, worked by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.suite.own.call_marks import holds, right_calls, tool_use


def tool(name: str, required: list[str], **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
TOOLS = [
    tool("weather", ["city"], city=TEXT, unit=TEXT, days=WHOLE),
    tool("area", ["base", "height"], base=NUMBER, height=NUMBER),
    tool("mean", ["values"], values={"type": "array", "items": NUMBER}),
    tool("book", ["guest"], guest={"type": "object"}, paid={"type": "boolean"}),
    tool("pick", [], these={"type": "array", "items": True}, any=True),
    tool("order", ["items"], items={"type": "array", "items": {"type": "object"}}),
]
ROME = {"weather": {"city": ["Rome", "Roma, Italy"], "unit": ["C", ""], "days": [3, ""]}}
PARIS = {"weather": {"city": ["Paris"], "unit": ["C", ""]}}
GUEST = {"book": {"guest": [{"name": ["Ada"], "age": [36, ""]}], "paid": [True]}}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


ROWS: list[tuple[str, list[Any], list[Any], bool]] = [
    ("a text is the same whatever its case and punctuation",
     [ROME], [call("weather", city="ROMA - ITALY")], True),
    ("another of the allowed values, and the argument that may be left out is given",
     [ROME], [call("weather", city="Rome", unit="c", days=3)], True),
    ("a value that is not listed",
     [ROME], [call("weather", city="Milan")], False),
    ("an argument that the due call does not name, though the function has it",
     [PARIS], [call("weather", city="Paris", days=2)], False),
    ("a whole number where any number may stand, and no text",
     [{"area": {"base": [10], "height": [5.5]}}], [call("area", base=10.0, height=5.5)], True),
    ("a text where a number has to stand",
     [{"area": {"base": [10], "height": [5]}}], [call("area", base="10", height=5)], False),
    ("half a number where a whole one has to stand",
     [ROME], [call("weather", city="Rome", days=3.0)], False),
    ("a list in its order",
     [{"mean": {"values": [[1, 2, 3]]}}], [call("mean", values=[3, 2, 1])], False),
    ("an object, key by key, one of them optional",
     [GUEST], [call("book", guest={"name": "ada"}, paid=True)], True),
    ("an object with a key that is not expected, and a missing optional argument of the due call",
     [GUEST], [call("book", guest={"name": "Ada", "room": 2}, paid=True)], False),
    ("parallel calls in another order",
     [ROME, PARIS], [call("weather", city="Paris"), call("weather", city="Rome")], True),
    ("the same call twice instead of both",
     [ROME, PARIS], [call("weather", city="Rome"), call("weather", city="Rome")], False),
]  # fmt: skip


def due_of(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, "arguments": of} for one in given for name, of in one.items()]


@pytest.mark.parametrize(("what", "due", "made", "right"), ROWS, ids=[row[0] for row in ROWS])
def test_twelve_rows_worked_by_hand(what: str, due: Any, made: Any, right: bool) -> None:
    assert right_calls(due_of(due), made, TOOLS) is right


@pytest.mark.parametrize(
    ("due", "made", "right"),
    [
        ([GUEST], [call("book", guest={"name": "Ada"})], False),  # paid may not be left out
        ([GUEST], [call("book", paid=True)], False),  # required
        ([GUEST], [call("book", guest={"name": "Ada"}, paid=1)], False),
        ([{"area": {"base": ["width"], "height": [2]}}], [call("area", base="width", height=2)],
         True),  # a variable
        ([{"order": {"items": [[{"id": [1]}, {"id": [2]}]]}}],
         [call("order", items=[{"id": 1}, {"id": 2}])], True),
        ([{"order": {"items": [[{"id": [1]}, {"id": [2]}]]}}],
         [call("order", items=[{"id": 2}, {"id": 1}])], False),
        ([{"mean": {"values": [[1.5], [2]]}}], [call("mean", values=[2])], True),
        ([{"mean": {"values": [[1.5]]}}], [call("mean", values=["1.5"])], False),
        ([ROME], [], False),
        ([{"mean": {"values": [[1]]}}], [call("mean", values=[True])], False),
        ([{"pick": {"these": [[1]]}}], [call("pick", these=[True])], False),
        ([{"pick": {"these": [[1]]}}], [call("pick", these=[1])], True),
        ([{"pick": {"any": [[1]]}}], [call("pick", any="1")], False),
        ([{"area": {"base": [10], "height": [5]}}], [call("area", base=10**400, height=5)], False),
        ([], [], True),
        ([], [call("weather", city="Rome")], False),
        ([ROME], [call("forecast", city="Rome")], False),
        ([ROME], [{"name": "weather", "arguments": None}], False),
    ],
)  # fmt: skip
def test_further_rules(due: Any, made: Any, right: bool) -> None:
    assert right_calls(due_of(due), made, TOOLS) is right


def marked(due: list[Any], *steps: tuple[str, list[Any]], final: list[str] | None = None) -> Any:
    said = [
        {
            "content": content,
            "calls": [
                {"name": one["name"], "arguments": one["arguments"]
                 if isinstance(one["arguments"], str) else json.dumps(one["arguments"])}
                for one in calls
            ],
        }
        for content, calls in steps
    ]  # fmt: skip
    doc = {
        "prompt": json.dumps({"messages": [], "tools": TOOLS}),
        "due": json.dumps(due_of(due)),
        "final": json.dumps(final or []),
    }
    return tool_use(doc, [json.dumps({"steps": said})])


def test_the_whole_is_right_if_calls_and_final_answer_are() -> None:
    rome = call("weather", city="Rome")
    right = marked([ROME], ("", [rome]), ("It has 17 degrees.", []), final=["17"])
    assert right["all_right"] == right["right_final"] == right["right_calls"] == 1
    other = marked([ROME], ("", [rome]), ("It has 171 degrees.", []), final=["17"])
    assert (other["all_right"], other["right_calls"], other["right_final"]) == (0, 1, 0)
    never = marked([ROME], ("It has 17 degrees.", []), final=["17"])
    assert (never["all_right"], never["right_final"]) == (0, 0)
    again = marked([ROME], ("", [rome]), ("17", [rome]), final=["17"])
    assert again["right_final"] == 0


def test_parts_are_marked_where_they_are_due() -> None:
    rome, paris = call("weather", city="Rome"), call("weather", city="Paris")
    both = marked([ROME, PARIS], ("", [paris, rome]))
    assert both["right_parallel"] == both["all_right"] == 1
    assert "right_final" not in both and "right_restraint" not in both
    wrong = marked([ROME, PARIS], ("", [rome, rome]))
    assert (wrong["right_functions"], wrong["right_parallel"]) == (1, 0)
    assert marked([], ("You are welcome.", []))["right_restraint"] == 1
    assert marked([], ("", [rome]))["right_restraint"] == 0


def test_what_nobody_can_read_is_not_well_formed() -> None:
    cut = {"name": "weather", "arguments": '{"city": "Ro'}
    found = marked([ROME], ("", [cut]))
    assert (found["well_formed"], found["right_functions"], found["all_right"]) == (0, 1, 0)
    assert marked([ROME], ('<tool_call>\n{"name": "weather"', []))["well_formed"] == 0
    assert marked([ROME], ("<think>a <tool_call>?</think> No.", []))["well_formed"] == 1
    assert tool_use(
        {"prompt": '{"tools": []}', "due": "[]", "final": "[]"}, ["plain words"]
    ) == {"all_right": 1, "right_calls": 1, "right_functions": 1, "right_restraint": 1,
          "well_formed": 1}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("It is 17.", "17", True),
        ("It is 17.5.", "17", False),
        ("It is 1.17", "17", False),
        ("It is -17.", "17", False),
        ("It is \u221217.", "-17", True),
        ("1,284 people", "1284", True),
        ("It costs 12,500 euros", "12,500", True),
        ("The Blue  Lagoon, of course", "blue lagoon", True),
        ("Blueish", "blue", False),
        ("<think>17</think> I do not know.", "17", False),
        ("<think>Is it 17? Or", "17", False),
        ("室温は17度です", "17", True),
        ("室温は170度です", "17", False),
    ],
)
def test_a_value_is_a_word_of_its_own(text: str, value: str, found: bool) -> None:
    assert holds(text, value) is found
