"""Rows of tasks that stand in the calibration set are found, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import CalibrationCard
from infra.contracts.specs import CalibrationSpec
from infra.conversations.overlap import NGRAM, Ngrams, of_run, overlap, words
from infra.store.content import digest_file, digest_of
from infra.store.settings import Settings

LETTERS = [f"word{place}" for place in range(40)]


def _words(word: str) -> str:
    return " ".join(f"{word}x{place}" for place in range(20))


def _text(start: int, end: int) -> str:
    return " ".join(LETTERS[start:end])


def test_words_have_no_case_and_no_punctuation() -> None:
    assert words("Don't PANIC—it's 3.5 km_h, Straße!") == [
        "don", "t", "panic", "it", "s", "3", "5", "km", "h", "strasse",
    ]  # fmt: skip
    assert words("量子 カナ mixed語") == ["量", "子", "カ", "ナ", "mixed", "語"]


@pytest.mark.parametrize(("row", "shared"), [
    (_text(5, 5 + NGRAM), _text(5, 5 + NGRAM)),
    ("before " + _text(5, 5 + NGRAM) + " after", _text(5, 5 + NGRAM)),
    (_text(5, 5 + NGRAM - 1) + " after", ""),  # one word too few
    (_text(3, 25) + " end", _text(3, 25)),  # as long as it goes on
    (_text(5, 5 + NGRAM).upper().replace(" ", ", "), _text(5, 5 + NGRAM)),
    (_text(5, 13), _text(5, 13)),  # eight words: sought as a whole
    (_text(5, 12), ""),  # seven: too few to mean anything
    (_text(5, 12) + " other", ""),
    ("", ""),
])  # fmt: skip
def test_shared_sequences(row: str, shared: str) -> None:
    assert Ngrams(["something else", _text(0, 30)]).shared(row) == shared


def test_no_sequence_crosses_from_one_text_to_the_next() -> None:
    assert Ngrams([_text(0, 10), _text(10, 20)]).shared(_text(0, 20)) == ""


def test_a_row_counts_once_and_every_task_is_named() -> None:
    found = overlap(
        [_text(0, 40)],
        {
            "dirty": [(_text(0, 14), _text(20, 34)), ("clean",), ("x", _text(9, 40))],
            "clean": [("nothing of it",)],
        },
    )
    assert (found.ngram, found.rows) == (NGRAM, 4)
    assert found.found == {"dirty": 2, "clean": 0}
    assert found.examples == (_text(0, 14), _text(9, 40))


def test_examples_are_few_short_and_different() -> None:
    long = " ".join(f"w{place}" for place in range(300))
    rows = [(long,), (long,), *((" ".join(long.split()[at : at + 13]),) for at in range(1, 30))]
    found = overlap([long], {"task": rows})
    assert found.found == {"task": 31}
    assert len(set(found.examples)) == len(found.examples) == 5
    assert found.examples[0].endswith("w39 …")


DOCUMENTS: dict[str, list[dict[str, Any]]] = {
    task: [
        {"question": f"Who? {task}", "choices": {"text": [_words(f"{task}{number}")]}, "answer": 1}
        for number in range(20)
    ]
    for task in ("gsm8k", "mmlu")
}
"""Task → its documents, whose texts lie deep and are all different."""


def _card(path: Path, conversations: list[list[str]], **facts: int) -> CalibrationCard:
    path.write_text("".join(
        json.dumps({"messages": [{"role": "user", "content": text} for text in texts]}) + "\n"
        for texts in conversations
    ))  # fmt: skip
    counts = {"read": len(conversations), "used": len(conversations), "dropped_too_long": 0}
    return CalibrationCard(
        spec=CalibrationSpec(path=str(path), min_samples=1),
        fingerprint=digest_of(conversations),
        source=digest_file(path).sha256,
        **(counts | facts),
        dropped_beyond_max=0, tokens_min=1, tokens_median=1, tokens_max=1, tokens_total=1,
    )  # fmt: skip


def test_of_a_run(tmp_path: Path) -> None:
    conversations = [["hello"], ["hm", f"Tell me: {_words('gsm8k3')}"], [_words("gsm8k7")]]
    card = _card(tmp_path / "chat.jsonl", conversations)
    found = of_run(DOCUMENTS, card, settings=Settings())
    assert found is not None
    assert (found.rows, found.found) == (40, {"gsm8k": 2, "mmlu": 0})
    assert found.examples == (_words("gsm8k3"), _words("gsm8k7"))

    # Conversations that the quantizer never looked at do not count.
    card = _card(tmp_path / "chat.jsonl", conversations, used=2)
    found = of_run(DOCUMENTS, card, settings=Settings())
    assert found is not None
    assert found.found == {"gsm8k": 1, "mmlu": 0}


def test_other_or_missing_conversations_tell_nothing(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    card = _card(path, [["hello"], ["you"]])
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert of_run(DOCUMENTS, card, settings=Settings()) is None
    # As many as before, but others: edited after the model was quantized.
    path.write_text(path.read_text().replace("hello", "howdy") + '{"messages": []}\n')
    assert of_run(DOCUMENTS, card, settings=Settings()) is None
    path.unlink()
    assert of_run(DOCUMENTS, card, settings=Settings()) is None
