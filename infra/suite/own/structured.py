"""Structured output: the answer is JSON that a schema allows.

It may be guided, so that no other can be written; or both are asked, and the free one is judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from infra.contracts.capability import Capability
from infra.scoring.ways import ASKS, BOTH, GUIDED
from infra.suite.own import marks
from infra.suite.own.kind import Kind, Unfit, parsed, text_of
from infra.suite.own.table import Cells


def _schema(cells: Cells, *, guided: bool | str) -> Iterator[dict[str, Any]]:
    schema = parsed(cells, "schema")
    if not isinstance(schema, dict):
        raise Unfit("has a schema that is no object", "Write the schema as a JSON object.")
    # As it stands: an engine that is guided by it writes properties in their order there.
    text = json.dumps(schema, ensure_ascii=False)
    if wrong := _wrong(text):
        raise Unfit(*wrong)
    answer = text_of(cells.get("answer", ""))
    if answer:
        try:
            fits = marks.allowed(schema, json.loads(answer))
        except (ValueError, RecursionError):
            fits = False
        if not fits:
            raise Unfit(
                f"has the answer {answer:.80}, which its own schema does not allow",
                "Mend the schema or the answer.",
            )
    yield {"schema": text, "answer": answer, ASKS: _WAYS[guided]}


def _wrong(text: str) -> tuple[str, str] | None:
    """Return what is wrong with a schema and what to do; none if it is one that JSON can satisfy.

    Most files have one schema for all rows, so what was found of the last ones is kept.
    """
    if text not in _found:
        if len(_found) > _KEPT:
            _found.clear()
        _found[text] = _look(text)
    return _found[text]


_WAYS = {False: "", True: GUIDED, "both": BOTH}
"""What `guided` is set to → how a row is asked."""

_KEPT = 1000
_found: dict[str, tuple[str, str] | None] = {}


def _look(text: str) -> tuple[str, str] | None:
    import jsonschema_rs

    schema = json.loads(text)
    try:
        marks.allowed(schema, None)  # it may name what only those who use it look for
        canonical = jsonschema_rs.canonicalize(schema)
    except (ValueError, RecursionError, jsonschema_rs.ReferencingError) as error:
        first = str(error).splitlines()[0]
        return f"has a schema that is none: {first}", "Mend it by the JSON Schema specification."
    if canonical.satisfiability() == jsonschema_rs.canonical.Satisfiability.NO:
        return (
            f"has a schema that no JSON satisfies: {text:.120}",
            "Its conditions contradict each other; loosen one.",
        )
    return None


SCHEMA = Kind(
    name="schema",
    column="schema",
    meaning="a JSON schema that the answer satisfies",
    read=_schema,
    metrics=(
        "schema_compliance",
        "json_validity",
        "guided_compliance",
        "answer_tokens",
        "guided_answer_tokens",
    ),
    values=("answer_tokens", "guided_answer_tokens"),
    marks="fits_schema",
    needs=lambda options: (Capability.JSON_SCHEMA,) if options["guided"] else (),
    options={"guided": False},
    choices={"guided": (False, True, "both")},
    example=(
        {
            "question": "Extract name and age as JSON: Ada Lovelace was 36.",
            "schema": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
                "required": ["name", "age"],
            },
            "answer": {"name": "Ada Lovelace", "age": 36},
        },
        {
            "question": "List three primes as a JSON array.",
            "schema": {"type": "array", "items": {"type": "integer"}, "minItems": 3},
            "answer": [2, 3, 5],
        },
    ),
)
