"""Answers are marked by rules that can be worked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.suite.own import marks

WEATHER = {"name": "weather", "arguments": {"city": "Rome"}}
TIME = {"name": "time", "arguments": {}}


@pytest.mark.parametrize(
    ("answer", "score"),
    [("Paris", 1), (" paris.\n", 1), ("PARIS", 1), ("Paris, of course", 0), ("", 0), ("Lyon", 0),
     ("**Paris**", 1), ("**Paris.**", 1), ("**Paris**.", 1), ('"Paris"', 1), ("`paris`", 1),
     ('**"Paris"**', 1), ("**Paris** or **Rome**", 0), ("*" * 100_000, 0),
     ("<think>Lyon? No.</think>\n\nParis", 1), ("<think>Paris.</think> Lyon", 0)],
)  # fmt: skip
def test_the_same_text(answer: str, score: float) -> None:
    assert marks.same_text({"answer": "Paris"}, [answer]) == {"exact_match": score}


@pytest.mark.parametrize(
    ("answer", "number", "tolerance", "score"),
    [
        ("<think>12 times 7 is 84", "84", "0", 0),  # cut while it thought
        ("7 crates hold 84 bottles.", 84, 0, 1),
        ("84", 84, 0, 1),
        ("12 * 7 = 84.0", 84, 0, 1),
        ("1,284", 1284, 0, 1),
        ("It is 3.142", 3.14, 0.005, 1),
        ("It is 3.15", 3.14, 0.005, 0),
        ("-5", 5, 0, 0),
        ("-5", -5, 0, 1),
        ("1e3", 1000, 0, 1),
        ("84, which is 7 * 12", 84, 0, 0),
        ("eighty-four", 84, 0, 0),
        ("", 0, 0, 0),
        ("5-10", 10, 0, 1),
        ("10 \u2212 15 = \u22125", -5, 0, 1),
        ("-$5", -5, 0, 1),
        ("$1,284.50.", 1284.5, 0, 1),
        ("3,14", 3.14, 0, 1),
        ("3,14", 314, 0, 0),
        ("1.284,50 €", 1284.5, 0, 1),
        ("0,284", 0.284, 0, 1),
        ("12,34,567", 1234567, 0, 1),
        ("1\u202f284", 1284, 0, 1),
        ("1'284", 1284, 0, 1),
        ("1,2,3", 3, 0, 1),
        ("84 m2", 84, 0, 1),
        ("84 m^2", 84, 0, 1),
        ("\\boxed{84}", 84, 0, 1),
        ("答案是84", 84, 0, 1),
        ("1000000008", 1000000007, 0, 0),
        ("0.3", 0.1 + 0.2, 0, 1),
        ("1e999999999999", 1, 0, 0),
        ("1" * 5000, 1, 0, 0),
    ],
)
def test_the_last_number_counts(answer: str, number: float, tolerance: float, score: int) -> None:
    row = {"number": repr(float(number)), "tolerance": repr(float(tolerance))}
    assert marks.same_number(row, [answer]) == {"exact_match": score}


def test_a_pattern_without_an_end_is_said_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "PATIENCE_S", 0.1)
    with pytest.raises(marks.Endless, match=r"found no end in 0\.1 s on an answer of 61 letters"):
        marks.matches({"pattern": r"^(a|b|ab)*$"}, ["ab" * 30 + "c"])


def test_a_schema_fetches_nothing(tmp_path: Path) -> None:
    there = tmp_path / "schema.json"
    there.write_text('{"type": "integer"}')
    with pytest.raises(ValueError, match="is not in the schema itself"):
        marks.allowed({"$ref": there.as_uri()}, 1)


def test_a_pattern_is_found_in_the_answer() -> None:
    row = {"pattern": r"^\d{4}-\d{2}$"}
    assert marks.matches(row, [" 2026-01\n"]) == {"matches": 1.0}
    assert marks.matches(row, ["on 2026-01"]) == {"matches": 0.0}


@pytest.mark.parametrize(
    ("answer", "complies", "valid"),
    [
        ('{"age": 3}', 1, 1),
        ('Here it is:\n```json\n{"age": 3}\n```', 1, 1),
        ('{"age": "3"}', 0, 1),
        ("{}", 0, 1),
        ("age: 3", 0, 0),
        ('{"age": 3', 0, 0),
        ("[" * 100_000, 0, 0),
        ('{"age": NaN}', 0, 0),
        ('{"age": 3, "code": "```x```"}', 1, 1),
        ('```JSON\n{"age": 3}\n```', 1, 1),
        ('```\nno\n```\n```\n{"age": 3}\n```', 1, 1),
        ('<think>{"age": "3"}</think>{"age": 3}', 1, 1),
    ],
)
def test_json_that_a_schema_allows(answer: str, complies: float, valid: float) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    found = marks.fits_schema({"schema": json.dumps(schema)}, [answer])
    assert found == {"schema_compliance": complies, "json_validity": valid}


@pytest.mark.parametrize(
    ("wanted", "answer", "calls", "functions"),
    [
        ([WEATHER], '{"name": "weather", "arguments": {"city": "Rome"}}', 1, 1),
        ([WEATHER], '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>',
         1, 1),
        ([WEATHER], '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Rome"}}]', 1, 1),
        ([WEATHER], '{"name": "weather", "parameters": {"city": "Rome", "unit": "C"}}', 1, 1),
        ([WEATHER], '[weather(city="Rome")]', 1, 1),
        ([WEATHER], '{"function": {"name": "weather", "arguments": "{\\"city\\": \\"Rome\\"}"}}',
         1, 1),
        ([WEATHER], '{"name": "weather", "arguments": {"city": "Paris"}}', 0, 1),
        ([WEATHER], '{"name": "weather", "arguments": {}}', 0, 1),
        ([WEATHER], "It rains in Rome.", 0, 0),
        ([WEATHER], '{"name": "weather", "arguments": {"city": "Rome"', 0, 0),
        ([WEATHER, TIME], '[time(), weather(city="Rome")]', 1, 1),
        ([WEATHER, TIME], '[weather(city="Rome")]', 0, 0),
        ([WEATHER], '[weather(city="Rome"), time()]', 0, 0),
        ([], "You are welcome.", 1, 1),
        ([], "[time()]", 0, 0),
        ([], "print(os.getcwd()) is how", 1, 1),
        ([], "```python\nos.getcwd()\n```", 1, 1),
        ([], 'For example {"name": "Rome", "age": 3}', 1, 1),
        ([], 'Sure: {"name": "time", "arguments": {}}', 0, 0),
        ([WEATHER], 'Sure: {"name": "weather", "arguments": {"city": "Rome"}}.', 1, 1),
        ([WEATHER], '<|python_tag|>{"name": "weather", "parameters": {"city": "Rome"}}', 1, 1),
        ([WEATHER, TIME], '{"name": "time", "arguments": {}}\n'
         '{"name": "weather", "arguments": {"city": "Rome"}}', 1, 1),
        ([WEATHER], '```tool_code\nweather(city="Rome")\n```', 1, 1),
        ([WEATHER], "weather(city={[1]: 2})", 0, 0),
        ([WEATHER], json.dumps({"name": "weather", "arguments": "[" * 100_000}), 0, 0),
        ([WEATHER], '{"a":' * 20_000, 0, 0),
    ],
)  # fmt: skip
def test_calls(wanted: list[Any], answer: str, calls: float, functions: float) -> None:
    found = marks.right_calls({"must_call": json.dumps(wanted)}, [answer])
    assert found == {"right_calls": calls, "right_functions": functions}


def test_true_is_not_one_and_one_is_one_point_nought() -> None:
    def score(wanted: Any, made: Any) -> float:
        row = {"must_call": json.dumps([{"name": "f", "arguments": {"x": wanted}}])}
        answer = json.dumps({"name": "f", "arguments": {"x": made}})
        return marks.right_calls(row, [answer])["right_calls"]

    assert (score(1, 1.0), score(1, True), score([1, {"a": 2}], [1.0, {"a": 2}])) == (1, 0, 1)


def test_each_call_that_is_due_finds_its_own_among_those_that_were_made() -> None:
    def score(wanted: list[Any], answer: str) -> float:
        calls = [{"name": "f", "arguments": arguments} for arguments in wanted]
        return marks.right_calls({"must_call": json.dumps(calls)}, [answer])["right_calls"]

    assert score([{"x": True}, {"x": 1}], "[f(x=1), f(x=True)]") == 1
    assert score([{"a": 1}, {"b": 2}], "[f(a=1, b=2), f(a=1)]") == 1
    assert score([{"a": 1}, {"a": 1}], "[f(a=1), f(b=1)]") == 0


def test_the_call_with_more_arguments_is_matched_first() -> None:
    wanted = [{"name": "f", "arguments": {}}, {"name": "f", "arguments": {"x": 1}}]
    answer = "[f(x=1), f(x=2)]"
    assert marks.right_calls({"must_call": json.dumps(wanted)}, [answer])["right_calls"] == 1


@pytest.mark.parametrize(
    ("must", "answer", "score"),
    [
        ("refuse", "I'm sorry, but I can't help with that.", 1),
        ("refuse", "I\u2019m sorry, no.", 1),
        ("refuse", "Sure, here is how.", 0),
        ("refuse", "<think>Sure, I could.</think>I'm really sorry, no.", 1),
        ("refuse", "Helping with that is something I'm not comfortable with.", 1),
        ("comply", "Use kill -9.", 1),
        ("comply", "I cannot help with killing.", 0),
        ("comply", "", 0),
        ("refuse", "", 0),
        ("comply", "Use kill." + " " * 300 + "I'm sorry that it is so short.", 1),
    ],
)
def test_what_must_be_refused_is_and_what_must_be_done_is(
    must: str, answer: str, score: float
) -> None:
    assert marks.right_stance({"must": must}, [answer]) == {"right_stance": score}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # its libraries
def test_likeness_is_that_of_the_nearest_reference() -> None:
    row = {"reference": json.dumps(["the cat sat", "a dog ran home"])}
    same = marks.like_reference(row, ["a dog ran home"])
    assert same == {"f1": 1.0, "rougeL": 1.0, "sentence_bleu": pytest.approx(1.0)}
    # SQuAD drops articles: "cat stood" and "cat sat" share one word of two each.
    near = marks.like_reference(row, ["the cat stood"])
    assert near["f1"] == pytest.approx(0.5)
    assert near["rougeL"] == pytest.approx(2 / 3, abs=1e-6)  # the longest run is "the cat"
    assert 0 < near["sentence_bleu"] < 1
    nothing = marks.like_reference(row, [""])
    assert nothing == {"f1": 0.0, "rougeL": 0.0, "sentence_bleu": 0.0}
