"""A row in each form that people keep conversations in; what is none of them has a name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.contracts.errors import CalibrationError
from infra.conversations.forms import Conversation, read_row

QUESTION, ANSWER = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
SYSTEM = {"role": "system", "content": "S"}
MULTIPLY = {"name": "multiply", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": MULTIPLY}
CALL = {"type": "function", "function": {"name": "multiply", "arguments": {"a": 1}}}


def read(row: Any, field: str = "messages") -> Conversation:
    return read_row(row, field, "Line 3 of c", lambda arguments: f"convert {arguments}.")


def turns(*pairs: tuple[str, object]) -> dict[str, Any]:
    return {"conversations": [{"from": who, "value": said} for who, said in pairs]}


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"messages": [QUESTION, ANSWER]}, [QUESTION, ANSWER]),
        ([QUESTION, ANSWER], [QUESTION, ANSWER]),
        ({"messages": json.dumps([QUESTION, ANSWER])}, [QUESTION, ANSWER]),
        ({"messages": str([QUESTION, ANSWER])}, [QUESTION, ANSWER]),
        ({"messages": [QUESTION | {"name": "Ann", "weight": None}]}, [QUESTION | {"name": "Ann"}]),
        ({"conversations": [QUESTION, ANSWER]}, [QUESTION, ANSWER]),
        ({"conversation": [QUESTION, ANSWER], "id": 1}, [QUESTION, ANSWER]),
        (turns(("human", "Q"), ("gpt", "A")), [QUESTION, ANSWER]),
        (turns(("system", "S"), ("user", "Q"), ("chatgpt", "A")), [SYSTEM, QUESTION, ANSWER]),
        (turns(("Human", "Q"), ("model", "A")) | {"system": "S"}, [SYSTEM, QUESTION, ANSWER]),
        (turns(("observation", "4"), ("bot", "A")), [{"role": "tool", "content": "4"}, ANSWER]),
        ({"messages": turns(("human", "Q"))["conversations"]}, [QUESTION]),
        (turns(("function_call", '{"name": "multiply", "arguments": {"a": 1}}')),
         [{"role": "assistant", "content": "", "tool_calls": [CALL]}]),
        (turns(("function_call", "multiply!")), [{"role": "assistant", "content": "multiply!"}]),
        (turns(("narrator", "Q")), [{"role": "narrator", "content": "Q"}]),
        ({"messages": [{"role": "human", "content": "Q"}]}, [{"role": "human", "content": "Q"}]),
        ({"instruction": "Q", "input": "", "output": "A"}, [QUESTION, ANSWER]),
        ({"instruction": "Q", "input": "x", "output": "A", "system": "S", "history": [["Q", "A"]]},
         [SYSTEM, QUESTION, ANSWER, {"role": "user", "content": "Q\n\nx"}, ANSWER]),
        ({"instruction": "Q", "context": "x", "response": "A", "category": "qa"},
         [{"role": "user", "content": "Q\n\nx"}, ANSWER]),
        ({"prompt": "Q", "completion": "A"}, [QUESTION, ANSWER]),
        ({"prompt": [SYSTEM, QUESTION], "completion": [ANSWER]}, [SYSTEM, QUESTION, ANSWER]),
        ({"messages": [QUESTION], "chosen": [ANSWER], "rejected": [ANSWER]}, [QUESTION]),
        ({"messages": [QUESTION | {"content": [{"type": "text", "text": "Q"}]}]}, [QUESTION]),
        ({"messages": [
            QUESTION | {"content": [{"type": "text", "text": "Q", "image": None}, "R"]}]},
         [QUESTION | {"content": "Q\nR"}]),
    ],
)  # fmt: skip
def test_forms_that_can_mean_only_one_thing(row: Any, messages: list[Any]) -> None:
    found = read(row)
    assert found.messages == messages
    assert found.tools is None
    assert found.place == "Line 3 of c"


def test_a_field_that_was_named_wins_and_is_not_guessed() -> None:
    row = {"messages": [QUESTION], "better": [ANSWER], "conversations": [SYSTEM]}
    assert read(row).messages == [QUESTION]
    assert read(row, "better").messages == [ANSWER]
    with pytest.raises(CalibrationError, match="has no field 'best'; it has messages, better"):
        read(row, "best")


@pytest.mark.parametrize(
    "columns",
    [
        {"tools": [TOOL]},
        {"tools": [MULTIPLY]},
        {"tools": [{"type": "function"} | MULTIPLY]},
        {"tools": json.dumps([TOOL])},
        {"tools": [json.dumps(TOOL)]},
        {"tools": MULTIPLY},
        {"functions": [MULTIPLY]},
        {"tools": None, "functions": json.dumps([MULTIPLY])},
    ],
)
def test_tools_in_every_form(columns: dict[str, Any]) -> None:
    assert read({"messages": [QUESTION]} | columns).tools == [TOOL]
    assert read(turns(("human", "Q")) | columns).tools == [TOOL]


@pytest.mark.parametrize("empty", [None, [], "", "[]"])
def test_no_tools_and_no_calls_are_no_error(empty: Any) -> None:
    found = read({"messages": [QUESTION, ANSWER | {"tool_calls": empty}], "tools": empty})
    assert (found.tools, found.messages) == (None, [QUESTION, ANSWER])


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"id": "c", "type": "function", "function": CALL["function"]}]},
        {"content": None, "tool_calls": [{"id": "c"} | CALL]},
        {"content": None, "tool_calls": [{"id": "c", "name": "multiply", "arguments": {"a": 1}}]},
        {"tool_calls": [
            {"id": "c", "function": {"name": "multiply", "arguments": '{"a": 1}'}, "index": None}
        ]},
        {"tool_calls": json.dumps([{"id": "c"} | CALL])},
        {"function_call": {"id": "c", "name": "multiply", "arguments": '{"a": 1}'}},
    ],
)  # fmt: skip
def test_calls_are_functions_with_arguments_as_objects(message: dict[str, Any]) -> None:
    found = read({"messages": [QUESTION, {"role": "assistant"} | message]}).messages[1]
    assert found == {"role": "assistant", "content": "", "tool_calls": [{"id": "c"} | CALL]}


def test_arguments_that_are_no_object_stay_as_they_are() -> None:
    calls = [{"name": "multiply", "arguments": text} for text in ("2 and 3", "", "[1]")]
    found = read([{"role": "assistant", "tool_calls": calls}]).messages[0]["tool_calls"]
    assert [call["function"]["arguments"] for call in found] == ["2 and 3", {}, "[1]"]


def test_what_was_said_includes_thoughts() -> None:
    talk = read([QUESTION, ANSWER | {"reasoning_content": "Hm"}])
    assert talk.texts == ["Q", "A", "Hm"]


@pytest.mark.parametrize(
    ("row", "fact", "remedy"),
    [
        ({"chosen": "A", "rejected": "B", "prompt": "Q"}, "preference data", "convert --chosen."),
        ({"chosen": [QUESTION, ANSWER], "rejected": [QUESTION]}, "preference", "convert --chosen."),
        ({"text": "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"},
         "a chat template has written already", "convert --rendered text."),
        ({"text": "Once upon a time"}, "texts and no conversations", "convert --user text."),
        ({"prompt": "Q"}, "texts and no conversations", "convert --user prompt."),
        ({"question": "Q", "answer": "A"}, "questions and answers",
         "convert --user question --assistant answer."),
        ({"input": "Q", "output": "A"}, "in columns of their own",
         "convert --user input --assistant output."),
        ({"dialog": [QUESTION, ANSWER]}, "no field 'messages'", "messages_field=dialog."),
        ({"dialog": turns(("human", "Q"))["conversations"]}, "dialog", "messages_field=dialog."),
        ({"id": 7}, "has no field 'messages'; it has id", "messages_field"),
        ({}, "it has none", "messages_field"),
        ({"messages": None}, "no list of messages in 'messages'", "messages_field"),
        ({"messages": "[{'role': 'user'} {'role': 'user'}]"}, "in 'messages' that is not JSON",
         "json.dumps"),
        ({"messages": [QUESTION], "tools": "multiply"}, "no list of functions in 'tools'",
         "function"),
        ({"messages": [QUESTION], "tools": "[{"}, "text in 'tools' that is not JSON", "json.dumps"),
        ({"messages": [QUESTION], "tools": [{"type": "x"}]}, "a function without a name",
         "function"),
        ({"messages": [ANSWER | {"tool_calls": [{"id": 1}]}]}, "without a name in message 1",
         "A call is"),
        ({"messages": [QUESTION | {"content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
         "part of type 'image_url' in message 1", "convert --text-only."),
        ({"messages": [QUESTION | {"content": [{"type": "input_audio"}]}]}, "'input_audio'",
         "convert --text-only."),
        (turns(("human", "<image>\nQ")) | {"image": "a.jpg"}, "column 'image'",
         "convert --text-only."),
        ({"messages": [QUESTION | {"content": None}]}, "number 1", "messages_field"),
        ({"messages": [QUESTION, {"role": "assistant", "tool_calls": []}]}, "number 2", "field"),
        ({"messages": [{"role": None, "content": "Q"}]}, "number 1", "messages_field"),
        (turns(("human", None)), "in from and value: number 1", "messages_field"),
        ({"messages": [QUESTION | {"content": {"a": 1}}]}, "has object for content", "field"),
        ({"instruction": 5, "output": "A"}, "no text for the user", "messages_field"),
        ({"instruction": "Q", "output": "A", "history": ["Q"]}, "'history'", "messages_field"),
        ("Hello", "is a JSON text, not an object", "messages_field"),
        ([], "has no list of messages", "messages_field"),
    ],
)  # fmt: skip
def test_other_rows_are_refused_by_their_name(row: Any, fact: str, remedy: str) -> None:
    with pytest.raises(CalibrationError) as caught:
        read(row)
    print(caught.value)
    assert caught.value.fact.startswith("Line 3 of c ")
    assert fact in caught.value.fact
    assert remedy in caught.value.remedy
