"""Function calling: functions are offered with a question, and the right ones have to be called.

Where a row says what its calls return, that is handed back, and the final answer has to use it.
Each row may be asked with several numbers of functions, so that it shows where a model loses its
way among them: those that are due stay, and others are drawn from other rows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from infra.contracts.capability import Capability
from infra.scoring.ways import ASKS, TOOLS
from infra.suite.own import call_marks, marks
from infra.suite.own.call_marks import LEFT_OUT
from infra.suite.own.kind import Kind, Unfit, parsed, text_of
from infra.suite.own.table import Cells

Function: TypeAlias = dict[str, Any]
"""Name, description and parameters."""

_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
"""What data sets after the leaderboard call types of JSON schema."""

_CALL = 'Write {"name": "search", "arguments": {"city": "Rome"}}, a list of these, or [].'


def _read(
    cells: Cells, *, others: Mapping[str, Function], offered: list[Any], seed: int
) -> Iterator[dict[str, Any]]:
    own = {one["name"]: one for one in _functions(cells)}
    messages = _messages(cells)
    due = [_due(one, own) for one in _listed(cells, "must_call")]
    oracle = [{"name": one["name"], "arguments": _example(one)} for one in due]
    if not call_marks.right_calls(due, oracle, [_tool(one) for one in own.values()]):
        raise Unfit(
            f"expects {json.dumps(oracle, ensure_ascii=False):.120}, which its own functions do "
            "not allow",
            "Mend the parameters or must_call: each argument has its type, and none is missing.",
        )
    results = _results(cells, due)
    final = _final(cells, due, results)
    steps = [_step("", oracle), _step("; ".join(final), [])] if results else [
        _step("" if due else "; ".join(final) or "There is nothing to call.", oracle)
    ]  # fmt: skip
    for shown in _shown(own, [one["name"] for one in due], others, offered, seed, messages):
        yield {
            "prompt": json.dumps(
                {"messages": messages, "tools": [_tool(one) for one in shown]}, ensure_ascii=False
            ),
            ASKS: TOOLS,
            "offered": str(len(shown)),
            "due": json.dumps(due, ensure_ascii=False),
            "results": json.dumps(
                [
                    {**call, "content": result}
                    for call, result in zip(oracle, results, strict=bool(results))
                ],
                ensure_ascii=False,
            ),
            "final": json.dumps(final, ensure_ascii=False),
            "answer": json.dumps({"steps": steps}, ensure_ascii=False),
        }


def _functions(cells: Cells) -> list[Function]:
    given = parsed(cells, "tools")
    if not isinstance(given, list) or not given:
        raise Unfit("has tools that are no list", "List the functions that are offered.")
    found = [_function(one) for one in given]
    names = [one["name"] for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Unfit(f"offers {twice[0]} twice", "Give each function a name of its own.")
    return found


def _function(given: Any) -> Function:
    if isinstance(given, dict) and isinstance(given.get("function"), dict):
        given = given["function"]
    if not isinstance(given, dict) or not isinstance(given.get("name"), str) or not given["name"]:
        raise Unfit(
            f"has a function without a name: {given!r:.80}",
            'Write {"name": …, "description": …, "parameters": {JSON schema}}.',
        )
    schema = given.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(schema, dict):
        raise Unfit(
            f"has parameters of {given['name']} that are no schema",
            'Write {"type": "object", "properties": {…}, "required": […]}.',
        )
    schema = _plain_types(schema)
    try:
        marks.allowed(schema, {})
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise Unfit(
            f"has parameters of {given['name']} that are no schema: {first}",
            "Mend them by the JSON Schema specification.",
        ) from None
    return {
        "name": given["name"],
        "description": text_of(given.get("description", "")),
        "parameters": schema,
    }


def _plain_types(schema: Any) -> Any:
    """Return a schema whose types are those of JSON schema."""
    if isinstance(schema, list):
        return [_plain_types(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _plain_types(value) for name, value in schema.items()}
    if isinstance(kind := found.get("type"), str):
        found["type"] = _TYPES.get(kind, kind)
        if kind == "any":
            del found["type"]
    return found


def _messages(cells: Cells) -> list[dict[str, Any]]:
    if "messages" not in cells:
        return [{"role": "user", "content": cells["question"]}]
    found = parsed(cells, "messages")
    if (
        not isinstance(found, list)
        or not found
        or not all(isinstance(one, dict) and isinstance(one.get("role"), str) for one in found)
        or found[-1]["role"] not in ("user", "tool")
        or not all(isinstance(one.get("content") or "", str | list) for one in found)
        or not found[-1].get("content")
    ):
        raise Unfit(
            "has messages that no answer can follow",
            'List them, the user\'s last: [{"role": "user", "content": "…"}].',
        )
    return found


def _listed(cells: Cells, column: str) -> list[Any]:
    found = parsed(cells, column)
    return found if isinstance(found, list) else [found]


def _due(given: Any, own: Mapping[str, Function]) -> dict[str, Any]:
    """Return a call that is due, with the values allowed for each argument."""
    if not isinstance(given, dict):
        raise Unfit(f"expects the call {given!r:.80}, which is none", _CALL)
    if isinstance(given.get("name"), str):
        name, arguments = given["name"], given.get("arguments", {})
        values = {key: [_whole(value)] for key, value in _object(name, arguments).items()}
        _require_allowed(own, name, arguments)
        for key, schema in _properties(own, name).items():
            if key not in values and isinstance(schema, dict) and "default" in schema:
                values[key] = [_whole(schema["default"]), LEFT_OUT]
    elif len(given) == 1:
        [(name, arguments)] = given.items()
        values = _object(name, arguments)
        if wrong := [key for key, one in values.items() if not isinstance(one, list) or not one]:
            raise Unfit(
                f"expects {name} with {wrong[0]} that lists no values",
                'List those that are allowed: {"search": {"city": ["Rome", "Roma"]}}.',
            )
    else:
        raise Unfit(f"expects the call {given!r:.80}, which has no name", _CALL)
    if name not in own:
        raise Unfit(
            f"expects a call of {name}, which is none of its tools ({', '.join(own)})",
            "Add it to the tools, or correct the name.",
        )
    if unknown := sorted(values.keys() - _properties(own, name).keys()):
        raise Unfit(
            f"expects {name} with {unknown[0]}, which is none of its parameters",
            "Add it to the parameters, or correct the name.",
        )
    return {"name": name, "arguments": values}


def _require_allowed(own: Mapping[str, Function], name: str, arguments: Mapping[str, Any]) -> None:
    """Refuse the one right value of an argument where its own schema does not allow it.

    With all values listed, one may be a text that stands for a variable.
    """
    for key, schema in _properties(own, name).items():
        # What one names may stand elsewhere in the whole schema.
        rooted = {**own[name]["parameters"], "properties": {key: schema}, "required": []}
        if key in arguments and not marks.allowed(rooted, {key: arguments[key]}):
            raise Unfit(
                f"expects {name} with {key} as "
                f"{json.dumps(arguments[key], ensure_ascii=False):.80}, which its parameters do "
                "not allow",
                f"Correct the value, or what the parameters say of {key}: its type, enum, ….",
            )


def _properties(own: Mapping[str, Function], name: str) -> dict[str, Any]:
    found = own.get(name, {}).get("parameters", {}).get("properties")
    return found if isinstance(found, dict) else {}


def _object(name: str, arguments: Any) -> dict[str, Any]:
    if not isinstance(arguments, dict):
        raise Unfit(
            f"expects {name} with arguments that are no object",
            'Write them by name: "arguments": {"city": "Rome"}.',
        )
    return arguments


def _whole(value: Any) -> Any:
    """Return a value as one that is allowed: of an object, each key with its one value."""
    if isinstance(value, dict):
        return {key: [one] for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) if isinstance(one, dict) else one for one in value]
    return value


def _example(due: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a right call: the first value that is allowed of each."""
    return {
        name: _first(values)
        for name, values in due["arguments"].items()
        if any(one != LEFT_OUT for one in values)
    }


def _first(values: Sequence[Any]) -> Any:
    value = next(one for one in values if one != LEFT_OUT)
    if isinstance(value, list):
        return [_inner(one) if isinstance(one, dict) else one for one in value]
    return _inner(value) if isinstance(value, dict) else value


def _inner(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: next(one for one in values if one != LEFT_OUT)
        for name, values in value.items()
        if any(one != LEFT_OUT for one in values)
    }


def _results(cells: Cells, due: Sequence[Any]) -> list[str]:
    if "results" not in cells:
        return []
    given = cells["results"]
    if isinstance(given, str) and given.lstrip()[:1] == "[":
        given = parsed(cells, "results")
    found = given if isinstance(given, list) else [given]
    if len(found) != len(due):
        raise Unfit(
            f"has {len(found)} results of {len(due)} calls",
            "Give one for each call of must_call, in the same order.",
        )
    return [text_of(one) for one in found]


def _final(cells: Cells, due: Sequence[Any], results: Sequence[str]) -> list[str]:
    given = cells.get("final", [])
    if isinstance(given, str) and given.lstrip()[:1] == "[":
        given = parsed(cells, "final")
    found = [_shortest(one).strip() for one in (given if isinstance(given, list) else [given])]
    if "final" in cells and not all(found):
        raise Unfit("has an empty final", "Give the values that the final answer has to hold.")
    if due and bool(found) != bool(results):
        raise Unfit(
            f"has {'a final answer without results' if found else 'results without a final answer'}"
            " of its calls",
            "Give both: results are what the calls return, final what the answer makes of them.",
        )
    return found


def _shortest(value: Any) -> str:
    """Return a value as an answer writes it: tables make 17.0 of 17 where others have none."""
    return text_of(int(value) if isinstance(value, float) and value.is_integer() else value)


def _step(content: str, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    made = [
        {"name": one["name"], "arguments": json.dumps(one["arguments"], ensure_ascii=False)}
        for one in calls
    ]
    return {"content": content, "calls": made}


def _tool(function: Function) -> dict[str, Any]:
    return {"type": "function", "function": function}


def _shown(
    own: Mapping[str, Function],
    due: Sequence[str],
    others: Mapping[str, Function],
    offered: Sequence[Any],
    seed: int,
    messages: Sequence[Any],
) -> Iterator[list[Function]]:
    """Yield the functions that are offered, for each number of them.

    More of them hold the fewer: those that are due, the row's own, and others by lot.
    """
    if not all(type(count) is int and count > 0 for count in offered):
        raise Unfit(
            f"cannot be offered {offered!r:.60} functions",
            "Set tools.offered to numbers of functions, such as [1, 4, 16].",
        )
    if not offered:
        yield [*own.values()]
        return
    asked = f"{seed} {json.dumps(messages, ensure_ascii=False)}"
    strange = sorted(others.keys() - own.keys())
    random.Random(asked).shuffle(strange)  # noqa: S311 -- not for secrets
    names = [*dict.fromkeys([*due, *own]), *strange]
    least = max(1, len({*due}))
    for count in sorted(set(offered)):
        if not least <= count <= len(names):
            raise Unfit(
                f"cannot be offered {count} functions: {least} are due, and all rows together have "
                f"{len(names)}",
                f"Set tools.offered to numbers from {least} to {len(names)}, or give the file more "
                "functions.",
            )
        chosen = names[:count]
        random.Random(f"{asked} {count}").shuffle(chosen)  # noqa: S311
        yield [own.get(name) or others[name] for name in chosen]


def _gathered(rows: Sequence[Cells]) -> dict[str, Function]:
    """Return the functions of all rows by name, the first of each; a wrong row is named later."""
    found: dict[str, Function] = {}
    for cells in rows:
        try:
            for one in _functions(cells):
                found.setdefault(one["name"], one)
        except Unfit:
            continue
    return found


_WEATHER = {
    "name": "weather",
    "description": "The weather in a city now.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "default": "C"}},
        "required": ["city"],
    },
}
_TIME = {
    "name": "local_time",
    "description": "What time it is in a city.",
    "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
    },
}  # fmt: skip

KIND = Kind(
    name="tools",
    column="tools",
    meaning="functions that are offered (name, description, parameters as JSON schema); must_call "
    "the calls that are due, results what they return, final what the last answer has to hold",
    read=_read,
    gathers=_gathered,
    asked_in=("messages",),
    takes=("must_call",),
    metrics=(
        "all_right", "right_calls", "right_functions", "right_parallel", "right_restraint",
        "right_final", "well_formed",
    ),
    marks="tool_use",
    marked_by=call_marks,
    needs=lambda options: (Capability.TOOLS,),
    decides=("num_fewshot", "fewshot_config", "doc_to_text", "gen_prefix"),
    options={"offered": [], "seed": 0},
    settings={
        "num_fewshot": 0,
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": 256},
    },
    example=(
        {"question": "How warm is it in Rome?", "tools": [_WEATHER],
         "must_call": [{"name": "weather", "arguments": {"city": "Rome"}}],
         "results": [{"degrees": 17}], "final": 17},
        {"question": "Is it raining in Rome and in Paris?", "tools": [_WEATHER, _TIME],
         "must_call": [{"weather": {"city": ["Rome", "Roma"], "unit": ["C", ""]}},
                       {"weather": {"city": ["Paris"], "unit": ["C", ""]}}]},
        {"question": "Thank you, that is all.", "tools": [_TIME], "must_call": []},
    ),
)  # fmt: skip
