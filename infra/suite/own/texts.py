"""Texts that are marked as texts: the same, the same number, of a pattern, like a reference."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import regex

from infra.suite.own import marks
from infra.suite.own.kind import Kind, Unfit, required, text_of
from infra.suite.own.table import Cells, whole


def _exact(cells: Cells) -> Iterator[dict[str, Any]]:
    yield {"answer": required(cells, "answer")}


def _number(cells: Cells) -> Iterator[dict[str, Any]]:
    number, tolerance = _finite(cells, "number"), Decimal(0)
    if "tolerance" in cells:
        tolerance = _finite(cells, "tolerance")
    if tolerance < 0:
        raise Unfit(f"has the tolerance {tolerance}", "Give one of 0 or more.")
    plain = int(number) if number == number.to_integral_value() else number
    yield {
        "number": str(number),
        "tolerance": str(tolerance),
        "answer": text_of(cells["answer"]) if "answer" in cells else f"{plain:f}",
    }


def _finite(cells: Cells, column: str) -> Decimal:
    text = required(cells, column)
    if (found := marks.number(text)) is None:
        raise Unfit(f"has the {column} {text!r:.80}", "Give a number, without its unit.")
    return found


def _pattern(cells: Cells) -> Iterator[dict[str, Any]]:
    pattern, answer = required(cells, "pattern"), text_of(cells.get("answer", ""))
    try:
        re.compile(pattern)
        found = marks.found_in(pattern, answer)
    except marks.Endless as error:
        raise Unfit(f"cannot be marked: {error}", "Mend the pattern.") from None
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        raise Unfit(
            f"has a pattern that is no regular expression: {error}",
            "Write it as Python's `re` reads it.",
        ) from None
    if answer and not found:
        raise Unfit(
            f"has the answer {answer!r:.80}, which its own pattern does not match",
            "Mend the pattern or the answer.",
        )
    yield {"pattern": pattern, "answer": answer}


def _reference(cells: Cells) -> Iterator[dict[str, Any]]:
    given = cells.get("reference", "")
    if isinstance(given, str) and given[:1] == "[":
        given = _listed(given)
    texts = [text_of(one).strip() for one in (given if isinstance(given, list) else [given])]
    if not texts or not all(texts):
        raise Unfit("has an empty reference", "Give one text, or a list of texts.")
    yield {"reference": json.dumps(texts, ensure_ascii=False), "answer": texts[0]}


def _listed(text: str) -> Any:
    try:
        return whole(json.loads(text))
    except (ValueError, RecursionError):
        return text


EXACT = Kind(
    name="exact",
    column="answer",
    meaning="the one right answer, whatever its case",
    read=_exact,
    metrics=("exact_match",),
    marks="same_text",
    example=(
        {"question": "Name the capital of France. Answer with the name alone.", "answer": "Paris"},
        {"question": "Is 91 prime? Answer yes or no.", "answer": "no"},
    ),
)
NUMBER = Kind(
    name="number",
    column="number",
    meaning="the right number, within `tolerance` (0) of the last one in the answer",
    read=_number,
    metrics=("exact_match",),
    marks="same_number",
    example=(
        {"question": "A crate holds 12 bottles. How many bottles are in 7 crates?", "number": 84},
        {"question": "What is pi to two digits?", "number": 3.14, "tolerance": 0.005},
    ),
)
PATTERN = Kind(
    name="pattern",
    column="pattern",
    meaning="a regular expression that is found in a right answer",
    read=_pattern,
    metrics=("matches",),
    marks="matches",
    example=(
        {"question": "Give today's date as YYYY-MM-DD.", "pattern": r"^\d{4}-\d{2}-\d{2}$",
         "answer": "2026-01-31"},
        {"question": "Name a colour of the French flag.", "pattern": r"(?i)\b(blue|white|red)\b",
         "answer": "blue"},
    ),
)  # fmt: skip
REFERENCE = Kind(
    name="reference",
    column="reference",
    meaning="a text, or a list of texts, that a good answer is like",
    read=_reference,
    metrics=("f1", "rougeL", "sentence_bleu"),
    marks="like_reference",
    example=(
        {"question": "Say in one sentence what a hash function does.",
         "reference": "It maps data of any size to a value of a fixed size."},
        {"question": "Translate to French: good morning",
         "reference": ["bonjour", "bon matin"]},
    ),
)  # fmt: skip
