"""How answers to rows with functions are marked. lm-eval runs this beside the definition.

Calls are marked by the published rules of the Berkeley Function-Calling Leaderboard: its checker of
parsed calls, `berkeley-function-call-leaderboard/bfcl_eval/eval_checker/ast_eval/ast_checker.py` in
https://github.com/ShishirPatil/gorilla (S. G. Patil et al. 2025, "The Berkeley Function Calling
Leaderboard", ICML), for functions described in JSON schema:

- as many calls as are due, each due call taking the first that fits it and is not taken; their
  order is moot, and where none is due none may be made;
- all required arguments are there, and none that the due call does not name;
- an argument is of the type that its schema names (an integer is a number too, and nothing else is
  anything else), or of the type of the values that are allowed, which may stand for a variable;
- its value is one of those that are allowed; texts are the same whatever their case, and without
  regard to spaces and `,./-_*^`, and `'` is `"`;
- an argument may be left out if `""` is among its allowed values;
- the same within objects, key by key, and within lists of objects, in their order.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Allowed = dict[str, list[Any]]
"""Argument → the values that are allowed; `""` lets it be left out."""

LEFT_OUT = ""

_TYPES: dict[str, type] = {
    "string": str, "integer": int, "number": float, "float": float, "boolean": bool,
    "array": list, "tuple": list, "object": dict, "dict": dict,
}  # fmt: skip
_PASSED_OVER = re.compile(r"[ ,./\-_*^]")
_REMAINS = (
    "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "<|tool_call|>",
    "<function=", "<tool_calls>", "<\uff5ctool\u2581calls\u2581begin\uff5c>",
)  # fmt: skip
"""What is left in the words of an answer where it began a call that nobody could read."""
_THOUSANDS = re.compile(r"(?<=\d)[,\u00a0\u2009\u202f'](?=\d{3}(?!\d))")


def tool_use(doc: dict[str, Any], answers: list[str]) -> dict[str, float]:
    """Score 1 where all of it is right: the calls, and the final answer where one is due.

    Beside that: whether the right functions are called, with the right arguments; the same over
    rows that need several calls; whether none is made where none is due; whether the calls are
    well-formed; whether the final answer uses what was handed back.
    """
    steps = steps_of(answers[0])
    due, made = json.loads(doc["due"]), steps[0]["calls"]
    calls = [{"name": one["name"], "arguments": arguments_of(one)} for one in made]
    right = right_calls(due, calls, json.loads(doc["prompt"])["tools"])
    names = Counter(one["name"] for one in due) == Counter(one["name"] for one in calls)
    found = {
        "right_calls": float(right),
        "right_functions": float(names),
        "well_formed": float(all(map(_well_formed, steps))),
    }
    if len(due) > 1:
        found["right_parallel"] = float(right)
    if not due:
        found["right_restraint"] = float(right)
    if final := json.loads(doc["final"] or "[]"):
        said = len(steps) == (2 if due else 1) and not steps[-1]["calls"]
        found["right_final"] = float(said and all(holds(steps[-1]["content"], x) for x in final))
    return {"all_right": min(found["right_calls"], found.get("right_final", 1.0)), **found}


def steps_of(answer: str) -> list[dict[str, Any]]:
    """Return what was answered in each step: `content` and `calls`."""
    try:
        steps: list[dict[str, Any]] = json.loads(answer)["steps"]
        return steps or [{"content": "", "calls": []}]
    except (ValueError, TypeError, KeyError):
        return [{"content": answer, "calls": []}]


def arguments_of(call: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the arguments of a call, which came as a text; none if that is no JSON object."""
    try:
        found = json.loads(call["arguments"] or "{}")
    except (ValueError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _well_formed(step: Mapping[str, Any]) -> bool:
    said = _said(step["content"])
    whole = all(arguments_of(call) is not None for call in step["calls"])
    return whole and not any(mark in said for mark in _REMAINS)


def _said(text: str) -> str:
    """Return what stands behind the thinking; of an answer that ends within it, nothing."""
    said = text.rpartition("</think>")[2]
    return "" if "<think>" in said else said


def holds(text: str, value: str) -> bool:
    """Return whether a text holds a value as a word or a number of its own."""
    said, wanted = (
        " ".join(_THOUSANDS.sub("", one).casefold().split()) for one in (_said(text), value)
    )
    # Numbers and words have no space around them in a script without spaces.
    word = r"[^\W\u2e80-\u9fff\uac00-\ud7af]"
    before = rf"(?<!{word})(?<!\d[.,])(?<![-\u2212](?=\d))"
    around = rf"{before}{re.escape(wanted)}(?![.,]?\d)(?!{word})"
    return re.search(around, said.replace("\u2212", "-")) is not None


def right_calls(
    due: Sequence[Mapping[str, Any]],
    made: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
) -> bool:
    """Return whether exactly the calls that are due were made, in whatever order.

    Args:
        due: Each its `name` and the values allowed for its `arguments`.
        made: Each its `name` and its `arguments`, none where they are no JSON object.
        tools: The functions that were offered.
    """
    if len(due) != len(made):
        return False
    described = {one["function"]["name"]: one["function"] for one in tools}
    left = list(made)
    for wanted in due:
        function = described[wanted["name"]]
        fitting = (one for one in left if fits(wanted, one, function.get("parameters") or {}))
        if (taken := next(fitting, None)) is None:
            return False
        left.remove(taken)
    return True


def fits(wanted: Mapping[str, Any], call: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    """Return whether a call is the one that is due.

    Args:
        wanted: Its `name` and the values allowed for its `arguments`.
        call: Its `name` and its `arguments`.
        schema: Of the function's arguments.
    """
    given, allowed = call["arguments"], wanted["arguments"]
    if call["name"] != wanted["name"] or given is None:
        return False
    properties = schema.get("properties") or {}
    if not all(name in given for name in schema.get("required") or ()):
        return False
    if not all(name in properties and name in allowed for name in given):
        return False
    return all(
        _value_fits(given[name], values, properties.get(name))
        if name in given
        else LEFT_OUT in values
        for name, values in allowed.items()
    )


def _value_fits(value: Any, allowed: Sequence[Any], schema: Any) -> bool:
    expected = _types(schema)
    if float in expected and type(value) is int:
        try:
            value = float(value)
        except OverflowError:  # larger than any
            return value in allowed
    usual = _type_among(allowed)
    if expected and type(value) not in expected:
        # A variable, as a text, may stand for a value of any type.
        return type(value) is usual and value in allowed
    if expected and usual is not None and usual not in expected and not _numbers(usual, expected):
        return value in allowed
    if isinstance(value, list):
        return any(_list_fits(value, one, schema) for one in allowed if isinstance(one, list))
    if isinstance(value, dict):
        return any(_object_fits(value, one) for one in allowed if isinstance(one, dict))
    return _plain_fits(value, allowed)


def _types(schema: Any) -> set[type]:
    """Return the types of Python that a schema names; empty if any will do."""
    if not isinstance(schema, Mapping):  # true allows everything
        return set()
    named = schema.get("type")
    names = named if isinstance(named, list) else [named]
    known: dict[Any, type] = {**_TYPES, "null": type(None)}
    if not all(isinstance(name, str) and name in known for name in names):
        return set()
    return {known[name] for name in names}


def _type_among(allowed: Sequence[Any]) -> type | None:
    return next((type(one) for one in allowed if one != LEFT_OUT), None)


def _numbers(usual: type, expected: set[type]) -> bool:
    """Return whether a whole number was written down where any number may stand."""
    return usual is int and float in expected


def _list_fits(value: list[Any], allowed: list[Any], schema: Any) -> bool:
    inner = _types(schema.get("items") if isinstance(schema, Mapping) else None)
    usual = _type_among(allowed)
    for one in value:
        if inner and type(one) not in inner and type(one) is not usual:
            return False
    if any(isinstance(one, dict) for one in value):
        return len(value) == len(allowed) and all(
            isinstance(one, dict) and isinstance(other, dict) and _object_fits(one, other)
            for one, other in zip(value, allowed, strict=True)
        )
    return len(value) == len(allowed) and all(
        _plain_fits(one, [other]) for one, other in zip(value, allowed, strict=True)
    )


def _object_fits(value: dict[str, Any], allowed: Mapping[str, Sequence[Any]]) -> bool:
    if not all(name in allowed and _plain_fits(one, allowed[name]) for name, one in value.items()):
        return False
    return all(name in value or LEFT_OUT in values for name, values in allowed.items())


def _plain_fits(value: Any, allowed: Sequence[Any]) -> bool:
    return any(
        _standard(value) == _standard(one) and isinstance(value, bool) == isinstance(one, bool)
        for one in allowed
    )


def _standard(value: Any) -> Any:
    """Return a text as it is compared, and anything else as it is."""
    if not isinstance(value, str):
        return value
    return _PASSED_OVER.sub("", value).lower().replace("'", '"')
