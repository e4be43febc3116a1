"""Multiple choice: one of the choices is right, and the model says its letter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra.suite.own.kind import Kind, Unfit, parsed, text_of
from infra.suite.own.table import Cells

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _read(cells: Cells) -> Iterator[dict[str, Any]]:
    choices = parsed(cells, "choices")
    if not isinstance(choices, list) or not 2 <= len(choices) <= len(LETTERS):
        raise Unfit(
            "has choices that are no list of 2 to 26",
            'Write them as a list: "choices": ["Paris", "Rome"].',
        )
    texts = [text_of(choice).strip() for choice in choices]
    if empty := [LETTERS[i] for i, text in enumerate(texts) if not text]:
        raise Unfit(f"has an empty choice {', '.join(empty)}", "Fill it in, or take it out.")
    if twice := sorted({text for text in texts if texts.count(text) > 1}):
        raise Unfit(f"offers {twice[0]!r} twice", "Make every choice another one.")
    listed = "\n".join(f"{LETTERS[i]}. {text}" for i, text in enumerate(texts))
    gold = _right(cells.get("answer"), texts)
    yield {
        "prompt": f"{cells['question']}\n{listed}\nAnswer:",
        "choices": texts,
        "letters": list(LETTERS[: len(texts)]),
        "gold": gold,
        "answer": LETTERS[gold],
    }


def _right(answer: Any, texts: list[str]) -> int:
    """Return the number of the right choice: by its text, else its letter, else its number."""
    if isinstance(answer, list):
        if len(answer) != 1:
            raise Unfit(
                f"has {len(answer)} right answers", "Leave one, or write two rows with one each."
            )
        (answer,) = answer
    text = text_of(answer if answer is not None else "").strip()
    if text in texts:
        return texts.index(text)
    letters = LETTERS[: len(texts)]
    if len(text) == 1 and text.upper() in letters:
        return letters.index(text.upper())
    if text.isascii() and text.isdigit() and int(text) < len(texts):
        return int(text)
    raise Unfit(
        f"has the answer {text!r}, which is none of its {len(texts)} choices"
        if text
        else "has no answer",
        "Give the right choice's text, its letter (A is the first) or its number (0 is the first).",
    )


CHOICES = Kind(
    name="choices",
    column="choices",
    meaning="a list, of which `answer` is one",
    read=_read,
    metrics=("acc",),
    example=(
        {"question": "Which port does HTTPS use by default?", "choices": ["80", "443", "8080"],
         "answer": "443"},
        {"question": "Which of these is a fruit?", "choices": ["carrot", "apple"], "answer": "B"},
    ),
    settings={
        "output_type": "multiple_choice",
        "doc_to_choice": "letters",
        "doc_to_target": "gold",
    },
)  # fmt: skip
