"""In which way a row wants to be answered, beside having a text go on from its prompt.

It stands in a column of the row: whoever writes rows says it there. A row with functions is put as
a chat, by the engine's own template and parser; one with a schema may have its answer guided.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

ASKS = "assay_asks"
"""The column."""

TOOLS = "tools"
"""A chat with functions; the prompt holds its messages and functions as JSON."""

GUIDED = "guided"
"""No other answer can be written than one that the column `schema` allows."""

BOTH = "free and guided"
"""First free, then guided."""

Write: TypeAlias = Callable[[Sequence[Any], Sequence[Any] | None], list[str]]
"""From requests of lm-eval's, and the schema of each or none at all, to texts."""


def way_of(request: Any) -> str:
    """Return how a request of lm-eval's wants to be answered; empty if as usual."""
    row = request.doc
    return str(row.get(ASKS) or "") if isinstance(row, Mapping) else ""


def answered(
    requests: Sequence[Any],
    *,
    write: Write,
    chat: Callable[[Sequence[Any]], list[str]],
    count: Callable[[str], int | None],
) -> list[str]:
    """Return the answer to each request, in its own way.

    Args:
        requests: lm-eval's, each a text to be written.
        write: Lets texts go on from prompts.
        chat: Puts chats with functions; returns what was said in each step, as JSON.
        count: Tokens of a text; none where nobody can say.
    """
    ways = [way_of(request) for request in requests]
    found: dict[int, str] = {}
    for way in dict.fromkeys(ways):
        places = [place for place, one in enumerate(ways) if one == way]
        some = [requests[place] for place in places]
        if way == TOOLS:
            texts = chat(some)
        elif way in (GUIDED, BOTH):
            texts = write(some, [json.loads(one.doc["schema"]) for one in some])
            if way == BOTH:
                pairs = zip(write(some, None), texts, strict=True)
                texts = [_both(free, guided, count) for free, guided in pairs]
        else:
            texts = write(some, None)
        found.update(zip(places, texts, strict=True))
    return [found[place] for place in range(len(requests))]


def _both(free: str, guided: str, count: Callable[[str], int | None]) -> str:
    parts = {"free": free, "guided": guided}
    said = {name: {"text": text, "tokens": count(text)} for name, text in parts.items()}
    return json.dumps(said, ensure_ascii=False)


def guiding(schema: Any) -> dict[str, Any]:
    """Return what a request carries besides, so that its answer satisfies a schema."""
    form = {"name": "answer", "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def texts_of(row: Mapping[str, Any], answer: str) -> list[str]:
    """Return the texts that a model wrote for a row, without what frames them.

    Of a call, its name and its arguments; of two ways to answer one, the free one.
    """
    way = row.get(ASKS)
    if way not in (TOOLS, BOTH):
        return [answer]
    try:
        said = json.loads(answer)
        if way == BOTH:
            return [said["free"]["text"]]
        return [
            step["content"] + "".join(one["name"] + one["arguments"] for one in step["calls"])
            for step in said["steps"]
        ]
    except (ValueError, TypeError, KeyError):
        return [answer]
